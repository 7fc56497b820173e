// SPDX-License-Identifier: Apache-2.0

import Fitting
import Foundation
import Routing
import Tensors
import TestSupport

/// A router with hot and cold experts on inputs that come in texts of 128 tokens, each with a
/// drift of its own.
struct SyntheticLayer {
  var router: FamilyRouter
  let calibration: Matrix
  let heldOut: Matrix

  static let softmax = RoutingRule(experts: 16, topK: 2, scoring: .softmax, normalise: true)
  static let groups = RoutingRule(
    experts: 16, topK: 3, scoring: .sigmoid, normalise: true, normaliseGuard: .add(1e-20),
    scale: 2.5, groups: .init(count: 4, kept: 2, score: .topTwoSum, mask: .negativeInfinity))

  init(rule: RoutingRule, tokens: Int, hidden: Int = 24, skew: Float = 0.6, seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var gate = Self.normal(rule.experts, hidden, &generator)
    for index in gate.values.indices { gate.values[index] *= 0.4 }
    // The first input dimension is constant: its column is a bias that skews the load.
    for expert in 0..<rule.experts { gate[expert, 0] *= skew / 0.4 }
    let bias: [Float]? =
      rule.scoring == .sigmoid
      ? (0..<rule.experts).map { _ in Float.random(in: 0...0.1, using: &generator) } : nil
    router = FamilyRouter(gate: gate, selectionBias: bias, rule: rule)
    calibration = Self.texts(tokens, hidden, &generator)
    heldOut = Self.texts(tokens, hidden, &generator)
  }

  /// How evenly `router` spreads the tokens that no fit has seen.
  func heldOutMetrics(_ router: some Router) -> LoadMetrics { metrics(router, on: heldOut) }

  /// How evenly `router` spreads `inputs` [T,H] over physical experts.
  func metrics(_ router: some Router, on inputs: Matrix) -> LoadMetrics {
    LoadMetrics(load: router.route(inputs, threads: 2).load(experts: router.experts))
  }

  /// How far `patched` does what the original does, on the tokens that no fit has seen or on
  /// `inputs`; `map` [E] names the logical experts, nil where there are no clones.
  func agreement(
    _ patched: some Router, map: [Int]? = nil, on inputs: Matrix? = nil
  ) -> RoutingAgreement {
    let identity = Array(0..<router.experts)
    return RoutingAgreement(
      original: router.route(inputs ?? heldOut, threads: 2), originalMap: identity,
      patched: patched.route(inputs ?? heldOut, threads: 2), patchedMap: map ?? identity)
  }

  /// The same for a router that names its clones.
  func agreement(_ patched: PrototypeRouter, on inputs: Matrix? = nil) -> RoutingAgreement {
    agreement(patched, map: patched.physicalToLogical, on: inputs)
  }

  /// The starting point of a form.
  func start(
    _ form: LatentForm, size: Int, threads: Int = 2
  ) throws -> PrototypeRouter {
    let set = CalibrationSet(inputs: calibration, router: router, threads: threads)
    let basis = try LatentBasis(router: router, logits: set.logits, threads: threads)
    return try LatentInitialiser(set, basis: basis, form: form, threads: threads)
      .start(size: size).router
  }

  static func normal(_ rows: Int, _ columns: Int, _ generator: inout SeededGenerator) -> Matrix {
    let values = (0..<rows * columns).map { _ in
      let radius = (-2 * log(Float.random(in: 1e-7..<1, using: &generator))).squareRoot()
      return radius * cosf(Float.random(in: 0..<2 * .pi, using: &generator))
    }
    return Matrix(rows: rows, columns: columns, values: values)
  }

  private static func texts(
    _ tokens: Int, _ hidden: Int, _ generator: inout SeededGenerator
  ) -> Matrix {
    var inputs = normal(tokens, hidden, &generator)
    let drifts = normal((tokens + 127) / 128, hidden, &generator)
    for token in 0..<tokens {
      for column in 0..<hidden / 2 { inputs[token, column] += 0.3 * drifts[token / 128, column] }
      inputs[token, 0] = 1.5
    }
    return inputs
  }
}
