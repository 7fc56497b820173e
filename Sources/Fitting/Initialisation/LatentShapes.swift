// SPDX-License-Identifier: Apache-2.0
//
// The starting points of LatentInitialiser for each similarity: see there for the reasons.

import Foundation
import Routing
import Tensors

/// Encoders and prototypes made from one frame.
struct LatentShapes {
  struct Candidate {
    var encoder: PrototypeRouter.Encoder
    var similarity: PrototypeRouter.Similarity
    var prototypes: Matrix
  }

  let frame: LatentFrame
  /// The largest R.
  let size: Int

  /// beta / alpha relative to what makes E |alpha y|² and E |beta q|² equal.
  private static let asymmetries = [1.0, 2, 4, 8]
  /// E Q / 2 of distances.
  private static let spreads = [1.0, 0.3, 0.1, 0.03]
  /// M relative to the root of E |y - y_mean|².
  private static let constants = [0.5, 1, 2, 4]
  /// kappa relative to the largest |q|.
  private static let lengths = [1.05, 2]
  /// What the variances alone add to Q.
  private static let hellingerOffset = 0.3
  private static let wassersteinOffset = 1.0

  func candidates(_ kind: SimilarityKind) -> [Candidate] {
    switch kind {
    case .dot:
      [
        Candidate(
          encoder: frame.encoder(size: frame.size, scale: 1), similarity: .dot,
          prototypes: frame.prototypes)
      ]
    case .cosine: cosines()
    case .crossAttention: attentions()
    case .gaussianKernel, .mahalanobis, .kullbackLeibler, .jensenShannon, .hellinger, .wasserstein:
      Self.asymmetries.flatMap { asymmetry in
        Self.spreads.map { distance(kind, asymmetry: asymmetry, spread: $0) }
      }
    }
  }

  private func distance(
    _ kind: SimilarityKind, asymmetry: Double, spread: Double
  ) -> Candidate {
    let (alpha, beta) = scales(asymmetry: asymmetry, spread: spread)
    var prototypes = frame.prototypes
    for row in 0..<prototypes.rows {
      for column in 0..<prototypes.columns {
        prototypes[row, column] =
          Float(beta) * prototypes[row, column] + Float(alpha * frame.mean[column])
      }
    }
    // JS and Hellinger measure distance in units of both variances: keep those near 1. KL adds the
    // logarithm of the token's, the same for all experts: a large one costs Float32's precision.
    let noise = [.jensenShannon, .hellinger, .kullbackLeibler].contains(kind) ? 1.0 : 0
    let encoder = frame.encoder(size: frame.size, scale: Float(alpha), noise: noise)
    return Candidate(
      encoder: encoder, similarity: similarity(kind, encoder), prototypes: prototypes)
  }

  /// alpha and beta.
  private func scales(asymmetry: Double, spread: Double) -> (Double, Double) {
    let tokens = max(frame.variance.reduce(0, +), 1e-30)
    let squares = frame.prototypes.values.reduce(0.0) { $0 + Double($1) * Double($1) }
    let prototypes = max(squares / Double(frame.prototypes.rows), 1e-30)
    let ratio = (prototypes / tokens).squareRoot() / asymmetry
    // E Q = alpha² tokens + beta² prototypes = 2 spread, alpha / beta = ratio.
    let beta = (2 * spread / (ratio * ratio * tokens + prototypes)).squareRoot()
    return (ratio * beta, beta)
  }

  private func similarity(
    _ kind: SimilarityKind, _ encoder: PrototypeRouter.Encoder
  ) -> PrototypeRouter.Similarity {
    let own = LatentFrame.logVariances(encoder, size: frame.size)
    let share = Double(frame.size)
    func divergence(
      _ divergence: PrototypeRouter.Similarity.Divergence, _ value: (Double) -> Double
    ) -> PrototypeRouter.Similarity {
      let row = own.map { Float(value(Double($0))) }
      return .divergence(
        divergence,
        logVariances: Matrix(
          rows: frame.prototypes.rows, columns: row.count,
          values: (0..<frame.prototypes.rows).flatMap { _ in row }))
    }
    switch kind {
    case .mahalanobis:
      return .mahalanobis(logSigma: [Float](repeating: 0, count: frame.size))
    case .kullbackLeibler: return divergence(.kullbackLeibler) { _ in 0 }
    case .jensenShannon: return divergence(.jensenShannon) { $0 }
    case .hellinger:
      // q = log cosh((lv - lv_p) / 2) / 2 in each dimension.
      return divergence(.hellinger) { $0 + 2 * acosh(exp(2 * Self.hellingerOffset / share)) }
    case .wasserstein:
      let step = (Self.wassersteinOffset / share).squareRoot()
      return divergence(.wasserstein) { 2 * log(exp($0 / 2) + step) }
    case .gaussianKernel, .dot, .cosine, .crossAttention: return .gaussianKernel
    }
  }

  /// Dimensions beside the constant one; nil where there is no room for it.
  private var roomForConstant: Int? {
    let room = min(frame.size, size - 1)
    return room > 0 ? room : nil
  }

  private func cosines() -> [Candidate] {
    let plain = Candidate(
      encoder: frame.encoder(size: frame.size, scale: 1), similarity: .cosine,
      prototypes: frame.prototypes)
    guard let room = roomForConstant else { return [plain] }
    let root = frame.variance.prefix(room).reduce(0, +).squareRoot()
    return [plain]
      + Self.constants.flatMap { constant in
        Self.lengths.map { length in
          Candidate(
            encoder: frame.encoder(
              size: room, scale: 1, centred: true, constant: Float(constant * root)),
            similarity: .cosine, prototypes: lengthened(room, to: length))
        }
      }
  }

  private func attentions() -> [Candidate] {
    guard let room = roomForConstant else {
      return [attention(room: frame.size, constant: nil, length: 1)]
    }
    let root = frame.variance.prefix(room).reduce(0, +).squareRoot()
    return Self.constants.flatMap { constant in
      Self.lengths.map { attention(room: room, constant: Float(constant * root), length: $0) }
    }
  }

  private func attention(room: Int, constant: Float?, length: Double) -> Candidate {
    let width = room + (constant == nil ? 0 : 1)
    let identity = Matrix.identity(width)
    let ones = [Float](repeating: 1, count: width)
    var shift = [Float](repeating: 0, count: width)
    var weights = ones
    if let constant {
      for index in 0..<room { shift[index] = -Float(frame.mean[index]) }
      shift[room] = constant
      weights[room] = 0
    }
    return Candidate(
      encoder: frame.encoder(size: room, scale: 1, constant: constant == nil ? nil : 0),
      similarity: .crossAttention(
        CrossAttention(
          query: CrossAttention.Side(weight: identity, bias: shift, norm: weights),
          key: CrossAttention.Side(
            weight: identity, bias: [Float](repeating: 0, count: width), norm: ones))),
      prototypes: constant == nil ? frame.prototypes : lengthened(room, to: length))
  }

  /// [q, sqrt(kappa² - |q|²)], [F, room + 1]: rows of one length.
  private func lengthened(_ room: Int, to length: Double) -> Matrix {
    let base = frame.prototypes.columns(0..<room)
    let norms = base.rowNorms()
    let kappa = Double(norms.max() ?? 0) * length
    return base.joined(
      Matrix(
        rows: base.rows, columns: 1,
        values: norms.map { Float(max(0, kappa * kappa - Double($0) * Double($0)).squareRoot()) }))
  }
}
