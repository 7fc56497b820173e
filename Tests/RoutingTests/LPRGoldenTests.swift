// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routing
import Tensors
import TestSupport
import Testing

/// Against `fixtures/lpr`, written by `tools/fixtures/lpr_goldens.py`.
struct LPRGoldenTests {
  /// Relative to the largest value: a few Float32 roundings in sums of a dozen terms.
  static let tolerance: Float = 4e-6

  @Test func `the encoder is LayerNorm, SiLU and a linear layer with two halves`() throws {
    let golden = try GoldenTensors(fixtures.appending(path: "lpr/encoder.safetensors"))
    let encoder = GaussianEncoder(
      normWeight: try golden["norm.weight"].values, normBias: try golden["norm.bias"].values,
      weight: try golden["encoder.weight"].matrix, bias: try golden["encoder.bias"].values)
    let inputs = try golden["inputs"].matrix
    let latent = encoder.encode(inputs, threads: 1)
    expectClose(latent.mean, try golden["mean"].matrix)
    expectClose(try #require(latent.logVariance), try golden["log_variance"].matrix)
    // The mean alone is another product of matrices, which may round otherwise.
    expectClose(encoder.mean(inputs, threads: 2), latent.mean)
  }

  @Test(arguments: SimilarityKind.allCases)
  func `every similarity has the official formula's values`(
    _ kind: SimilarityKind
  ) throws {
    let golden = try GoldenTensors(fixtures.appending(path: "lpr/similarities.safetensors"))
    let latent = LatentGaussian(
      mean: try golden["mean"].matrix, logVariance: try golden["log_variance"].matrix)
    let values = try golden.similarity(kind).values(
      latent, prototypes: try golden["prototypes"].matrix, threads: 1)
    expectClose(values, try golden[kind.rawValue + ".values"].matrix)
  }

  @Test(arguments: SimilarityKind.allCases)
  func `a router scales the similarities, adds its bias and does not depend on threads`(
    _ kind: SimilarityKind
  ) throws {
    let golden = try GoldenTensors(fixtures.appending(path: "lpr/similarities.safetensors"))
    let encoding = try GoldenTensors(fixtures.appending(path: "lpr/encoder.safetensors"))
    let bias: [Float] = (0..<8).map { 0.1 * Float($0) }
    let zeros = [Float](repeating: 0, count: 8)
    let rule = RoutingRule(experts: 8, topK: 3, scoring: .softmax, normalise: true)
    let router = PrototypeRouter(
      encoder: .gaussian(
        GaussianEncoder(
          normWeight: try encoding["norm.weight"].values,
          normBias: try encoding["norm.bias"].values,
          weight: try encoding["encoder.weight"].matrix,
          bias: try encoding["encoder.bias"].values)),
      similarity: try golden.similarity(kind), similarityScale: 3,
      logicalPrototypes: try golden["prototypes"].matrix, logitBias: bias,
      selectionBias: zeros, physicalToLogical: Array(0..<8),
      clonePrototypes: Matrix(rows: 8, columns: 5), cloneBias: zeros, rule: rule)
    // 4000 rows: several blocks of tokens.
    let some = try encoding["inputs"].matrix
    let inputs = some.gathering(rows: (0..<4000).map { $0 % some.rows })
    let similarities = router.similarity.values(
      router.encodeGaussian(inputs, threads: 1), prototypes: router.logicalPrototypes, threads: 1)
    let logits = router.logits(inputs, threads: 1)
    for index in [0, 9, 31_999] {
      #expect(abs(logits.values[index] - 3 * similarities.values[index] - bias[index % 8]) < 1e-4)
    }
    let family = Selection(rule: rule)
      .assign(rule.scores(logits, threads: 1), threads: 1) { _, expert in expert }
    #expect(router.route(inputs, threads: 1) == family)
    #expect(router.route(inputs, threads: 3) == family)
  }

  @Test func `Hellinger and the kernel stay finite and ordered where products underflow`() {
    // 64 dimensions: the product of factors is far below the smallest Float.
    var prototypes = Matrix(rows: 3, columns: 64)
    for column in 0..<64 {
      prototypes[1, column] = 3
      prototypes[2, column] = 0.1
    }
    let latent = LatentGaussian(mean: Matrix(rows: 1, columns: 64, repeating: 0))
    let values = PrototypeRouter.Similarity.divergence(
      .hellinger, logVariances: Matrix(rows: 3, columns: 64)
    ).values(latent, prototypes: prototypes, threads: 1)
    #expect(values.values.allSatisfy { $0.isFinite })
    #expect(values[0, 1] == -1)
    // Each dimension's factor is 1 - 1.25e-3, and a logarithm near 1 is good to 6e-8.
    let factor = 0.01 / (4 * 2.000001) - 0.5 * log(2 / 2.000001)
    let exact = -(-expm1(-64 * factor)).squareRoot()
    #expect(abs(Double(values[0, 2]) - exact) < 1e-4 * abs(exact))
    let kernel = PrototypeRouter.Similarity.gaussianKernel
      .values(latent, prototypes: prototypes, threads: 1)
    #expect(kernel.values.allSatisfy { $0.isFinite } && kernel[0, 0] == 1 && kernel[0, 1] == 0)
  }

  @Test func `zero vectors have cosine zero`() {
    let latent = LatentGaussian(mean: Matrix(rows: 1, columns: 2))
    let prototypes = Matrix(rows: 2, columns: 2, values: [1, 0, 0, 0])
    #expect(
      PrototypeRouter.Similarity.cosine.values(latent, prototypes: prototypes, threads: 1).values
        == [0, 0])
  }

  private func expectClose(_ found: Matrix, _ expected: Matrix) {
    #expect(found.rows == expected.rows && found.columns == expected.columns)
    let largest = expected.values.reduce(0) { max($0, abs($1)) }
    let worst = zip(found.values, expected.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(largest > 0 && worst <= Self.tolerance * largest, "regenerate with lpr_goldens.py")
  }
}

extension GoldenTensors.Tensor {
  fileprivate var matrix: Matrix {
    Matrix(rows: shape[0], columns: shape[1], values: values)
  }
}

extension GoldenTensors {
  fileprivate func similarity(
    _ kind: SimilarityKind
  ) throws -> PrototypeRouter.Similarity {
    func side(_ name: String) throws -> CrossAttention.Side {
      CrossAttention.Side(
        weight: try self[name + ".weight"].matrix, bias: try self[name + ".bias"].values,
        norm: try self[name + ".norm"].values)
    }
    return switch kind {
    case .dot: .dot
    case .cosine: .cosine
    case .gaussianKernel: .gaussianKernel
    case .mahalanobis: .mahalanobis(logSigma: try self["log_sigma"].values)
    case .crossAttention:
      .crossAttention(
        CrossAttention(query: try side("query"), key: try side("key")))
    case .kullbackLeibler, .jensenShannon, .hellinger, .wasserstein:
      .divergence(
        try PrototypeRouter.Similarity.Divergence(rawValue: kind.rawValue).orThrow(kind.rawValue),
        logVariances: try self["prototype_log_variance"].matrix)
    }
  }
}

extension Optional {
  fileprivate func orThrow(_ name: String) throws -> Wrapped {
    guard let self else { throw GoldenTensors.Damaged(name: name) }
    return self
  }
}
