// SPDX-License-Identifier: Apache-2.0
//
// The tensors that a router's form adds to those of linear encoder and dot product, under the same
// names in a prototype checkpoint and in a fit file:
//
//   encoder lpr       norm_weight [H], norm_bias [H], encoder_bias [2R]; the encoder's matrix then
//                     has 2R outputs: the mean, then the log-variance
//   similarity_scale  [1], all similarities but dot and cross_attention
//   mahalanobis       log_sigma [R]
//   cross_attention   query_weight [R,R], query_bias [R], query_norm [R]; key_... likewise
//   kl, js,           prototype_log_variances [E,R]
//   hellinger,
//   wasserstein

package import ByteStorage
package import Routing
package import Tensors

/// Where the float tensors of one router come from; shapes are checked.
package protocol RouterTensorSource {
  func floats(_ name: String, shape: [Int]) throws(RegateError) -> [Float]
}

extension RouterTensorSource {
  package func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(RegateError) -> Matrix {
    Matrix(rows: rows, columns: columns, values: try floats(name, shape: [rows, columns]))
  }
}

package enum LatentFormTensors {
  package typealias Tensor = (name: String, values: [Float], shape: [Int])

  private static let normWeight = "norm_weight"
  private static let normBias = "norm_bias"
  private static let encoderBias = "encoder_bias"
  private static let scale = "similarity_scale"
  private static let logSigma = "log_sigma"
  private static let logVariances = "prototype_log_variances"
  private static let query = "query"
  private static let key = "key"

  /// What `router` has beside its encoder's matrix, prototypes, biases and map of physical experts.
  package static func added(by router: PrototypeRouter) -> [Tensor] {
    var tensors: [Tensor] = []
    if case .gaussian(let encoder) = router.encoder {
      tensors += [
        vector(normWeight, encoder.normWeight), vector(normBias, encoder.normBias),
        vector(encoderBias, encoder.bias),
      ]
    }
    precondition(router.similarity.kind.hasScale || router.similarityScale == 1)
    if router.similarity.kind.hasScale { tensors.append(vector(scale, [router.similarityScale])) }
    switch router.similarity {
    case .dot, .cosine, .gaussianKernel: break
    case .mahalanobis(let values): tensors.append(vector(logSigma, values))
    case .divergence(_, let values):
      tensors.append((logVariances, values.values, [values.rows, values.columns]))
    case .crossAttention(let attention):
      for (name, side) in [(query, attention.query), (key, attention.key)] {
        tensors += [
          (name + "_weight", side.weight.values, [side.weight.rows, side.weight.columns]),
          vector(name + "_bias", side.bias), vector(name + "_norm", side.norm),
        ]
      }
    }
    return tensors
  }

  private static func vector(_ name: String, _ values: [Float]) -> Tensor {
    (name, values, [values.count])
  }

  /// Names and shapes of what a router of `form` has beside what every one has.
  package static func shapes(
    _ form: LatentForm, experts: Int, hiddenSize: Int, latentSize: Int
  ) -> [(String, [Int])] {
    var shapes: [(String, [Int])] = []
    if form.encoder == .gaussian {
      shapes += [
        (normWeight, [hiddenSize]), (normBias, [hiddenSize]), (encoderBias, [2 * latentSize]),
      ]
    }
    if form.similarity.hasScale { shapes.append((scale, [1])) }
    switch form.similarity {
    case .dot, .cosine, .gaussianKernel: break
    case .mahalanobis: shapes.append((logSigma, [latentSize]))
    case .crossAttention:
      for name in [query, key] {
        shapes += [
          (name + "_weight", [latentSize, latentSize]), (name + "_bias", [latentSize]),
          (name + "_norm", [latentSize]),
        ]
      }
    case .kullbackLeibler, .jensenShannon, .hellinger, .wasserstein:
      shapes.append((logVariances, [experts, latentSize]))
    }
    return shapes
  }

  /// [R,H], or [2R,H] with a log-variance half.
  package static func matrix(of encoder: PrototypeRouter.Encoder) -> Matrix {
    switch encoder {
    case .linear(let weight): weight
    case .gaussian(let encoder): encoder.weight
    }
  }

  /// R of an encoder with `outputs` outputs; nil where there is no such encoder.
  package static func latentSize(_ kind: EncoderKind, outputs: Int) -> Int? {
    switch kind {
    case .linear: outputs > 0 ? outputs : nil
    case .gaussian: outputs > 0 && outputs.isMultiple(of: 2) ? outputs / 2 : nil
    }
  }

  /// The encoder whose matrix is `weight` [R,H] or [2R,H].
  package static func encoder(
    _ kind: EncoderKind, weight: Matrix, from source: some RouterTensorSource
  ) throws(RegateError) -> PrototypeRouter.Encoder {
    switch kind {
    case .linear: return .linear(weight)
    case .gaussian:
      return .gaussian(
        GaussianEncoder(
          normWeight: try source.floats(normWeight, shape: [weight.columns]),
          normBias: try source.floats(normBias, shape: [weight.columns]), weight: weight,
          bias: try source.floats(encoderBias, shape: [weight.rows])))
    }
  }

  /// The similarity and its scale for `experts` logical experts of latent size `latent`.
  package static func similarity(
    _ kind: SimilarityKind, experts: Int, latent: Int,
    from source: some RouterTensorSource
  ) throws(RegateError) -> (PrototypeRouter.Similarity, scale: Float) {
    let scale = kind.hasScale ? try source.floats(Self.scale, shape: [1])[0] : 1
    func divergence(
      _ divergence: PrototypeRouter.Similarity.Divergence
    ) throws(RegateError) -> PrototypeRouter.Similarity {
      .divergence(divergence, logVariances: try source.matrix(logVariances, experts, latent))
    }
    let similarity: PrototypeRouter.Similarity
    switch kind {
    case .dot: similarity = .dot
    case .cosine: similarity = .cosine
    case .gaussianKernel: similarity = .gaussianKernel
    case .mahalanobis:
      similarity = .mahalanobis(logSigma: try source.floats(logSigma, shape: [latent]))
    case .crossAttention:
      similarity = .crossAttention(
        CrossAttention(
          query: try side(query, latent, source), key: try side(key, latent, source)))
    case .kullbackLeibler: similarity = try divergence(.kullbackLeibler)
    case .jensenShannon: similarity = try divergence(.jensenShannon)
    case .hellinger: similarity = try divergence(.hellinger)
    case .wasserstein: similarity = try divergence(.wasserstein)
    }
    return (similarity, scale)
  }

  private static func side(
    _ name: String, _ size: Int, _ source: some RouterTensorSource
  ) throws(RegateError) -> CrossAttention.Side {
    CrossAttention.Side(
      weight: try source.matrix(name + "_weight", size, size),
      bias: try source.floats(name + "_bias", shape: [size]),
      norm: try source.floats(name + "_norm", shape: [size]))
  }
}
