// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Checkpoints
import Measures
import Routing

/// The load that files of counts say, all together. Where they all tell single tokens, some of them
/// are held out if that is asked for: runs of them, as of captures, since sequences are not known.
package struct CountsLoad: LoadSource, Sendable {
  private let files: [ExpertCounts]
  private let layout: ModelLayout
  /// The tokens that make a plan, and runs of those that judge it, where single tokens are told and
  /// some are held out.
  private let split: (fitted: [Int], heldOut: [Range<Int>])?

  package init(
    _ paths: [String], for model: Model, holdingOut: Bool
  ) throws(RegateError) {
    let layout = model.layout
    var files: [ExpertCounts] = []
    for path in paths { files.append(try ExpertCounts(path: path, layout: layout)) }
    try Self.requireOrigin(of: files, in: model)
    guard !files.isEmpty else {
      throw RegateError(.missing, subject: "`counts`", "nothing was given")
    }
    self.files = files
    self.layout = layout
    split = holdingOut ? Self.split(files) : nil
  }

  /// Counts that say which routers they were made with must name the model's.
  private static func requireOrigin(
    of files: [ExpertCounts], in model: Model
  ) throws(RegateError) {
    guard files.contains(where: { $0.routers != nil }) else { return }
    let expected = try model.routerFingerprint()
    for file in files {
      guard let found = file.routers, found != expected else { continue }
      throw RegateError(
        .mismatch, file: file.path, subject: ExpertTable.routersKey,
        "was counted on a model with other routers than \(model.checkpoint.path)",
        advice: "count on this very checkpoint, or give the one that was counted on")
    }
  }

  private static func split(_ files: [ExpertCounts]) -> (fitted: [Int], heldOut: [Range<Int>])? {
    guard files.allSatisfy({ $0.routed != nil }) else { return nil }
    var fitted: [Int] = []
    var heldOut: [Range<Int>] = []
    for rows in rows(of: files) {
      let isHeldOut = { TrafficSplit.isHeldOut($0 - rows.lowerBound, ofRun: rows.count) }
      fitted += rows.filter { !isHeldOut($0) }
      heldOut += TrafficSplit.runs(rows.filter(isHeldOut))
    }
    return heldOut.isEmpty ? nil : (fitted, heldOut)
  }

  /// The tokens of each file among those of all.
  private static func rows(of files: [ExpertCounts]) -> [Range<Int>] {
    var start = 0
    return files.map { file in
      defer { start += file.tokens }
      return start..<start + file.tokens
    }
  }

  /// Where the load comes from, in words.
  package var source: String {
    var sources: [String] = []
    for file in files where !sources.contains(file.source) { sources.append(file.source) }
    return sources.joined(separator: ", ")
  }

  /// Tokens that make a plan.
  package var tokens: Int { split?.fitted.count ?? files.reduce(0) { $0 + $1.tokens } }

  /// Other tokens, which judge it; nil where none are held out.
  package var heldOutTokens: Int? { split.map { $0.heldOut.reduce(0) { $0 + $1.count } } }

  /// Of MoE layer number `number`, in their order.
  package func traffic(layer number: Int) throws(RegateError) -> LayerTraffic {
    let experts = layout.layers[number].rule.experts
    let routed = routed(layer: number)
    if let split, let routed {
      return LayerTraffic(
        routed, experts: experts, fitted: split.fitted, served: ServedOrder.rows(split.heldOut))
    }
    var total = [Int](repeating: 0, count: experts)
    for file in files {
      for (expert, count) in file.load[number].enumerated() {
        try total.add(count, at: expert, file.path, "layer \(layout.layers[number].index)")
      }
    }
    return LayerTraffic(
      planned: total, runs: routed?.runLoads(experts: experts), judged: total,
      served: routed.map {
        $0.gathering(
          tokens: ServedOrder.rows(Self.rows(of: files).flatMap { TrafficSplit.runs(Array($0)) }))
      })
  }

  /// The tokens of all files, in their order; nil where one tells totals only.
  private func routed(layer number: Int) -> Assignment? {
    let parts = files.compactMap { $0.routed?[number] }
    return parts.count == files.count ? Assignment(joining: parts) : nil
  }

  package func load(ranks: [Int]) throws(RegateError) -> ExpertLoad {
    var layers: [LoadSummary] = []
    var runs: [[[Int]]] = []
    var heldOut: [[Int]] = []
    for (number, layer) in layout.layers.enumerated() {
      let traffic = try traffic(layer: number)
      if let found = traffic.runs { runs.append(found) }
      heldOut.append(traffic.judged)
      let counted = routed(layer: number).map { all in
        split.map { all.gathering(tokens: $0.fitted) } ?? all
      }
      layers.append(
        counted.map { LoadSummary($0, experts: layer.rule.experts, ranks: ranks) }
          ?? LoadSummary(load: traffic.planned, ranks: ranks))
    }
    return ExpertLoad(
      layers: layers, runs: runs.count == layers.count ? runs : nil, source: source, tokens: tokens,
      heldOut: heldOutTokens.map { .init(load: heldOut, tokens: $0) },
      parts: files.count > 1
        ? files.map { .init(name: $0.path.lastPathComponent, load: $0.load, tokens: $0.tokens) }
        : [])
  }
}

extension Assignment {
  /// The tokens of several, one after the other.
  fileprivate init(joining parts: [Assignment]) {
    self.init(
      tokens: parts.reduce(0) { $0 + $1.tokens }, topK: parts.first?.topK ?? 1,
      experts: parts.flatMap(\.experts), weights: parts.flatMap(\.weights))
  }
}
