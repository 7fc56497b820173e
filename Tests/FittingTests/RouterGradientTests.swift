// SPDX-License-Identifier: Apache-2.0

import Fitting
import Foundation
import Routing
import Tensors
import TestSupport
import Testing

struct RouterGradientTests {
  typealias Kind = SimilarityKind

  @Test(arguments: Kind.allCases) func `similarity gradients are those of torch's autograd`(
    _ kind: Kind
  ) throws {
    let golden = try GoldenTensors(fixtures.appending(path: "lpr/similarities.safetensors"))
    let similarity = try golden.similarity(kind)
    let latent = LatentGaussian(
      mean: try golden.matrix("mean"), logVariance: try golden.matrix("log_variance"))
    let prototypes = try golden.matrix("prototypes")
    let values = similarity.values(latent, prototypes: prototypes, threads: 1)
    let gradient = similarity.gradient(
      latent, prototypes: prototypes, values: values, upstream: try golden.matrix("upstream"),
      threads: 2)
    let prefix = kind.rawValue + ".gradient."
    expectClose(gradient.mean, try golden.matrix(prefix + "mean"))
    expectClose(gradient.prototypes, try golden.matrix(prefix + "prototypes"))
    if similarity.comparesDistributions {
      let found = try #require(gradient.logVariance)
      expectClose(found, try golden.matrix(prefix + "log_variance"))
    }
    let names: [String] =
      switch kind {
      case .mahalanobis: ["log_sigma"]
      case .crossAttention:
        ["query", "key"].flatMap { side in ["weight", "bias", "norm"].map { "\(side).\($0)" } }
      case .kullbackLeibler, .jensenShannon, .hellinger, .wasserstein: ["prototype_log_variance"]
      default: []
      }
    #expect(gradient.parameters.count == names.count)
    for (found, name) in zip(gradient.parameters, names) {
      expectClose(found, try golden.matrix(prefix + name))
    }
  }

  @Test func `encoder gradients are those of torch's autograd`() throws {
    let golden = try GoldenTensors(fixtures.appending(path: "lpr/encoder.safetensors"))
    let encoder = PrototypeRouter.Encoder.gaussian(
      GaussianEncoder(
        normWeight: try golden["norm.weight"].values, normBias: try golden["norm.bias"].values,
        weight: try golden.matrix("encoder.weight"), bias: try golden["encoder.bias"].values))
    let gradient = encoder.gradient(
      inputs: try golden.matrix("inputs"), mean: try golden.matrix("upstream.mean"),
      logVariance: try golden.matrix("upstream.log_variance"), threads: 1)
    let names = ["norm.weight", "norm.bias", "encoder.weight", "encoder.bias"]
    for (found, name) in zip(gradient, names) {
      expectClose(found, try golden.matrix("gradient." + name))
    }
  }

  /// Every part of a router is moved along a random direction; the slope of the objective there
  /// must be the gradient's part in that direction.
  @Test(arguments: Kind.allCases, EncoderKind.allCases)
  func `the objective's gradient is its finite difference`(
    _ kind: Kind, _ encoder: EncoderKind
  ) throws {
    let rule = kind == .cosine ? SyntheticLayer.groups : SyntheticLayer.softmax
    let layer = SyntheticLayer(rule: rule, tokens: 1024, seed: 21)
    var router = try layer.start(.init(encoder: encoder, similarity: kind), size: 6)
    var generator = SeededGenerator(seed: 22)
    // Away from the start, where many parameters are equal.
    let parts = Learned.all(in: router)
    for part in parts { router.move(part, direction(router[part], &generator), by: 0.1) }
    let tokens = Array(0..<64)
    let inputs = layer.heldOut.gathering(rows: tokens)
    let targets = layer.router.logits(inputs, threads: 1)
    var weights = LossWeights()
    weights.diversity = 0.3
    weights.divergence = 0.05
    weights.balance = 0.2
    weights.diversityKind = encoder == .linear ? .orthogonal : .euclidean
    let objective = RoutingObjective(weights: weights, threads: 1)
    func value(_ router: PrototypeRouter) -> Double {
      objective.evaluate(router, inputs: inputs, logits: targets).value
    }
    let gradient = objective.evaluate(router, inputs: inputs, logits: targets)
    for part in parts {
      let direction = direction(router[part], &generator)
      let found = gradient[part]
      let along = zip(found.values, direction.values).reduce(0.0) {
        $0 + Double($1.0) * Double($1.1)
      }
      // Far enough for Float32 values, near enough for a difference of second order.
      let step = Float(min(0.005, 0.003 / max(abs(along), 1e-9)))
      var (ahead, behind) = (router, router)
      ahead.move(part, direction, by: step)
      behind.move(part, direction, by: -step)
      let slope = (value(ahead) - value(behind)) / (2 * Double(step))
      let size = found.norm * direction.norm
      #expect(abs(slope - along) < 0.01 * size + 2e-4, "\(part): \(slope), expected \(along)")
    }
  }

  /// Random, of about the size of what it moves.
  private func direction(_ values: Matrix, _ generator: inout SeededGenerator) -> Matrix {
    var direction = values
    let count = Double(max(1, direction.values.count))
    let size = max(Float(direction.norm / count.squareRoot()), 0.01)
    for index in direction.values.indices {
      direction.values[index] = size * Float.random(in: -1...1, using: &generator)
    }
    return direction
  }

  /// Float32 sums of a few hundred terms, relative to the largest value.
  private func expectClose(_ found: Matrix, _ expected: Matrix) {
    #expect(found.rows == expected.rows && found.columns == expected.columns)
    let largest = expected.values.reduce(0) { max($0, abs($1)) }
    let worst = zip(found.values, expected.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(largest > 0 && worst <= 2e-5 * largest, "regenerate with lpr_goldens.py")
  }
}

extension PrototypeRouter {
  fileprivate mutating func move(_ part: Learned, _ direction: Matrix, by step: Float) {
    var moved = self[part]
    moved.add(direction, scale: step)
    self[part] = moved
  }
}

extension Matrix {
  fileprivate var norm: Double {
    values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
  }
}

extension GoldenTensors {
  fileprivate func similarity(
    _ kind: SimilarityKind
  ) throws -> PrototypeRouter.Similarity {
    func side(_ name: String) throws -> CrossAttention.Side {
      CrossAttention.Side(
        weight: try matrix(name + ".weight"), bias: try self[name + ".bias"].values,
        norm: try self[name + ".norm"].values)
    }
    switch kind {
    case .dot: return .dot
    case .cosine: return .cosine
    case .gaussianKernel: return .gaussianKernel
    case .mahalanobis: return .mahalanobis(logSigma: try self["log_sigma"].values)
    case .crossAttention:
      return .crossAttention(CrossAttention(query: try side("query"), key: try side("key")))
    case .kullbackLeibler, .jensenShannon, .hellinger, .wasserstein:
      let divergence = try #require(
        PrototypeRouter.Similarity.Divergence(rawValue: kind.rawValue))
      return .divergence(divergence, logVariances: try matrix("prototype_log_variance"))
    }
  }
}
