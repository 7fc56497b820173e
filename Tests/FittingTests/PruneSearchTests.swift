// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct PruneSearchTests {
  /// Outputs [T,16] of 16 experts: all odd ones put out the same, so that one of them can stand in
  /// for another, which their loads do not tell.
  private static func sketch(tokens: Int) -> OutputSketch {
    var generator = SeededGenerator(seed: 6)
    var builder = OutputSketch.Builder(tokens: Array(0..<tokens), experts: 16, hiddenSize: 16)
    let common = SyntheticLayer.normal(tokens, 16, &generator)
    for expert in 0..<16 {
      builder.add(
        expert: expert, sampled: Array(0..<tokens),
        outputs: expert % 2 == 1 ? common : SyntheticLayer.normal(tokens, 16, &generator))
    }
    return builder.finish()
  }

  @Test(arguments: PrototypeFitTests.rules)
  func `what is pruned costs less than the least used experts`(_ rule: RoutingRule) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 2048, skew: 0.1, seed: 5)
    let set = CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 2)
    let search = PruneSearch(set, sketch: Self.sketch(tokens: 2048), threads: 2)
    let kept = search.kept(pruning: 4)
    let load = set.load
    let idle = rule.groupRanges.flatMap { group in
      group.sorted { load[$0] < load[$1] }.prefix(4 / rule.groupRanges.count)
    }
    func error(without pruned: some Sequence<Int>) -> Double {
      var stays = [Bool](repeating: true, count: 16)
      for expert in pruned { stays[expert] = false }
      return search.error(stays)
    }
    let pruned = Set(0..<16).subtracting(kept)
    #expect(error(without: []) < 1e-6)
    #expect(error(without: pruned) < 0.95 * error(without: idle))
    // As many of each group.
    for group in rule.groupRanges {
      #expect(pruned.count { group.contains($0) } == 4 / rule.groupRanges.count)
    }
  }

  @Test(arguments: PrototypeFitTests.rules)
  func `pruning leaves the others' rows and biases as they are`(_ rule: RoutingRule) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 2048, seed: 7)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(strength: 0, pruned: 4, threads: 2))
    let map = fit.prototype.physicalToLogical
    #expect(map.count == 12 && map == map.sorted() && !fit.isUnchanged && fit.clones.isEmpty)
    let stock = try #require(fit.stock)
    #expect(stock.gate == layer.router.gate.gathering(rows: map))
    #expect(stock.selectionBias == layer.router.selectionBias.map { bias in map.map { bias[$0] } })
    // Tokens whose experts are all there keep them; in groups another group may come up.
    let before = layer.router.route(layer.heldOut, threads: 2)
    let after = layer.router.keeping(map).route(layer.heldOut, threads: 2)
    guard rule.groups == nil else { return }
    for token in 0..<before.tokens {
      let places = token * rule.topK..<(token + 1) * rule.topK
      guard before.experts[places].allSatisfy({ map.contains(Int($0)) }) else { continue }
      #expect(after.experts[places].map { map[Int($0)] } == before.experts[places].map { Int($0) })
    }
  }

  @Test func `as many experts can go as each group can do without`() {
    let (plain, groups) = (SyntheticLayer.softmax, SyntheticLayer.groups)
    for count in [1, 14] { #expect(plain.problem(pruning: count) == nil) }
    for count in [0, 15, -1] { #expect(plain.problem(pruning: count) != nil, "\(count)") }
    // Two of four groups are kept, judged by two experts each, and three are chosen.
    for count in [4, 8] { #expect(groups.problem(pruning: count) == nil) }
    for count in [2, 6, 12] { #expect(groups.problem(pruning: count) != nil, "\(count)") }
    #expect(groups.problem(pruning: 6)?.advice == "give one of the multiples of 4 up to 8")
    #expect(groups.keeping(8).groups == groups.groups && groups.keeping(8).experts == 8)
    #expect(groups.problem(physicalToLogical: [0, 1, 2, 4, 5, 7, 8, 9, 10, 13, 14, 15]) == nil)
    for map in [
      [0, 1, 2, 3, 5, 7, 8, 9, 10, 13, 14, 15], [1, 0, 2, 4, 5, 7, 8, 9, 10, 13, 14, 15],
      [0, 1, 2, 4, 5, 7, 8, 9, 10, 13, 14], [0, 4, 8, 12],
    ] { #expect(groups.problem(physicalToLogical: map) != nil, "\(map)") }
  }
}
