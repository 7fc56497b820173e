// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct StockFitTests {
  private static let linear = FitOptions.Stock(hasSelectionBias: false, gateType: .bf16)
  private static let biased = FitOptions.Stock(hasSelectionBias: true, gateType: .bf16)

  @Test func `a linear gate comes near the prototype router's balance`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 4096, hidden: 32, seed: 21)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(stock: Self.linear, threads: 2))
    let stock = try #require(fit.stock)
    #expect(stock.selectionBias == nil)
    #expect(stock.gate.values.allSatisfy { $0 == $0.roundedToBF16 })
    let before = try #require(layer.heldOutMetrics(layer.router).gini)
    let router = FamilyRouter(gate: stock.gate, rule: SyntheticLayer.softmax)
    #expect(try #require(layer.heldOutMetrics(router).gini) < 0.35 * before)
    // Far better than chance, which would be K/F.
    let map = fit.prototype.physicalToLogical
    #expect(layer.agreement(router, map: map, on: layer.calibration).overlap > 0.5)
    #expect(layer.agreement(router, map: map).overlap > 0.5)
  }

  @Test func `a little balance costs little agreement`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 4096, hidden: 32, seed: 21)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(strength: 0.05, stock: Self.linear, threads: 2))
    let stock = try #require(fit.stock)
    let router = FamilyRouter(gate: stock.gate, rule: SyntheticLayer.softmax)
    #expect(layer.agreement(router, map: fit.prototype.physicalToLogical).overlap > 0.975)
  }

  @Test func `experts of large outputs keep their weights`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 2048, hidden: 16, seed: 27)
    let places = Array(stride(from: 0, to: 2048, by: 4))
    var builder = OutputSketch.Builder(tokens: places, experts: 16, hiddenSize: 16)
    for expert in 0..<16 {
      builder.add(
        expert: expert, sampled: Array(places.indices),
        outputs: Matrix(rows: places.count, columns: 16, repeating: expert < 8 ? 5 : 1))
    }
    let sketch = builder.finish()
    let original = layer.router.route(layer.heldOut, threads: 1)
    // Squared error of the weights of the experts with the large outputs.
    let errors = try [sketch, nil].map { outputs in
      let fit = try LayerFitter.fit(
        inputs: layer.calibration, original: layer.router, outputs: outputs,
        options: FitOptions(clones: false, stock: Self.linear, threads: 2))
      let gate = try #require(fit.stock).gate
      let patched = FamilyRouter(gate: gate, rule: SyntheticLayer.softmax)
        .route(layer.heldOut, threads: 1)
      var error = 0.0
      for token in 0..<original.tokens {
        var difference = [Float](repeating: 0, count: 16)
        for entry in token * 2..<(token + 1) * 2 {
          difference[Int(original.experts[entry])] -= original.weights[entry]
          difference[Int(patched.experts[entry])] += patched.weights[entry]
        }
        error += difference[..<8].reduce(0) { $0 + Double($1) * Double($1) }
      }
      return error
    }
    #expect(errors[0] < 0.9 * errors[1])
  }

  @Test func `experts that nobody wants do not become the same`() throws {
    let rule = RoutingRule(experts: 6, topK: 2, scoring: .softmax, normalise: true)
    var layer = SyntheticLayer(rule: rule, tokens: 768, hidden: 32, skew: 0, seed: 29)
    // An input that is the same for all tokens: two experts take them all, and no clones may help.
    var inputs = layer.calibration
    for token in 0..<inputs.rows { inputs[token, 0] = 3 }
    for (expert, weight) in [2.5, 1.5, 0, 0, -4, -6].enumerated() {
      layer.router.gate[expert, 0] = Float(weight)
    }
    let fit = try LayerFitter.fit(
      inputs: inputs, original: layer.router,
      options: FitOptions(
        clones: false, stock: .init(hasSelectionBias: false, gateType: .f32), threads: 2))
    let gate = try #require(fit.stock).gate
    for first in 0..<6 {
      for second in 0..<first {
        let square = zip(gate.row(first), gate.row(second))
          .reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        #expect(square > 1e-6, "experts \(second) and \(first)")
      }
    }
  }

  @Test(arguments: zip([false, true], [ElementType.f16, .bf16]))
  func `a bias on the logits is fitted with the rows, both as they are stored`(
    clones: Bool, type: ElementType
  ) throws {
    let rule = RoutingRule(
      experts: 16, topK: 2, scoring: .softmaxOfSelected, normalise: false)
    var layer = SyntheticLayer(rule: rule, tokens: 4096, hidden: 32, skew: 0, seed: 28)
    // What skews the load is the bias, and no input says so.
    layer.router.logitBias = (0..<16).map { Float(($0 * 7) % 16) / 8 }
    var form = FitOptions.Stock(hasSelectionBias: false, gateType: type)
    form.logitBiasType = type
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(clones: clones, stock: form, threads: 2))
    let stock = try #require(fit.stock)
    let bias = try #require(stock.logitBias)
    #expect(try TensorEncoder.rounded(bias, to: type) == bias)
    #expect(try TensorEncoder.rounded(stock.gate.values, to: type) == stock.gate.values)
    #expect(bias != fit.prototype.physicalToLogical.map { layer.router.logitBias?[$0] })
    let before = try #require(layer.heldOutMetrics(layer.router).gini)
    #expect(try #require(layer.heldOutMetrics(stock.router(layer.router)).gini) < 0.35 * before)
  }

  @Test func `with a selection bias and no clones the stock form is the prototype router`() throws {
    let rule = SyntheticLayer.groups
    let layer = SyntheticLayer(rule: rule, tokens: 4096, seed: 22)
    let form = FitOptions.Stock(hasSelectionBias: true, gateType: .f32)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(clones: false, latent: .size(16), stock: form, threads: 2))
    let stock = try #require(fit.stock)
    #expect(stock.gate == layer.router.gate)
    #expect(stock.selectionBias?.min() == 0)
    let router = FamilyRouter(gate: stock.gate, selectionBias: stock.selectionBias, rule: rule)
    #expect(try #require(layer.heldOutMetrics(router).gini) < 0.06)
    let agreement = RoutingAgreement(
      original: fit.prototype.route(layer.heldOut, threads: 1), originalMap: Array(0..<16),
      patched: router.route(layer.heldOut, threads: 1), patchedMap: Array(0..<16))
    #expect(agreement.overlap > 0.97)
  }

  @Test func `with a selection bias only rows of cloned experts change`() throws {
    let rule = SyntheticLayer.groups
    var layer = SyntheticLayer(rule: rule, tokens: 4096, skew: 1.2, seed: 23)
    for index in layer.router.gate.values.indices {
      layer.router.gate.values[index] = layer.router.gate.values[index].roundedToBF16
    }
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(stock: Self.biased, threads: 2))
    let stock = try #require(fit.stock)
    #expect(!fit.clones.isEmpty)
    for (physical, logical) in fit.prototype.physicalToLogical.enumerated() {
      let cloned = fit.prototype.physicalOfLogical[logical].count > 1
      let isOriginal = stock.gate.row(physical) == layer.router.gate.row(logical)
      #expect(isOriginal != cloned)
    }
  }

  @Test func `strength 0 leaves gate and bias alone`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.groups, tokens: 1024, seed: 24)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(strength: 0, stock: Self.biased))
    #expect(fit.stock?.gate == layer.router.gate)
    #expect(fit.stock?.selectionBias == layer.router.selectionBias)
  }

  @Test func `same seed, same bytes, whatever the number of threads`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 512, hidden: 8, seed: 25)
    let fits = try [1, 3].map { threads in
      try LayerFitter.fit(
        inputs: layer.calibration, original: layer.router,
        options: FitOptions(stock: Self.linear, seed: 9, threads: threads))
    }
    #expect(fits[0].stock?.gate == fits[1].stock?.gate)
    let other = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(stock: Self.linear, seed: 10, threads: 2))
    #expect(fits[0].stock?.gate != other.stock?.gate)
  }

  @Test func `clusters are of equal size and find separate groups`() {
    var generator = SeededGenerator(seed: 26)
    var inputs = SyntheticLayer.normal(600, 4, &generator)
    for row in 0..<600 { inputs[row, row % 3] += 8 }
    var random = SplitMix64(seed: 1)
    let cells = StockTargets.balancedClusters(inputs, count: 3, threads: 2, using: &random)
    for cell in 0..<3 { #expect(abs(cells.count { $0 == cell } - 200) <= 3) }
    #expect((3..<600).count { cells[$0] != cells[$0 % 3] } <= 6)
  }
}
