// SPDX-License-Identifier: Apache-2.0
//
// A router of any encoder and similarity that starts from the gate it replaces.
//
// In a LatentFrame the gate's logits are dot products y . q. Every other similarity is shaped so
// that, up to its scale and one bias per expert, it comes near that dot product:
//
//   distances        |alpha y - p|², p = beta q + alpha y_mean, is -2 alpha beta y . q apart from
//                    |y|² (small where alpha << beta; cancels in a softmax) and |q|² (goes into the
//                    bias). h(Q) is nearly linear where Q varies little: tau = E Q / 2. Hellinger
//                    and 2-Wasserstein have a root at 0, so their prototypes' variances keep Q away
//                    from it.
//   cosine           one dimension is set apart: z = [y - y_mean, M], p = [q, sqrt(kappa² - |q|²)].
//                    All |p| are equal, and |z| nearly constant for large M.
//   cross-attention  the same, exactly: M is the query's bias, and its norm's weight there is 0.
//
// Small tau and large M come nearer to the dot product but leave less of Float's precision and of
// the similarity's own character to refinement; the candidate with the largest overlap with the
// original's choice on a sample is kept. Scale and biases are fitted to the logits by least
// squares.

package import ByteStorage
import Foundation
package import Routing
import Tensors

/// Makes starting points of one form for one layer.
package struct LatentInitialiser {
  /// A starting point, and its overlap with the original's choice on a sample.
  package struct Start: Sendable {
    package let router: PrototypeRouter
    package let overlap: Double
    /// Which of the shapes it is.
    fileprivate let shape: Int
  }

  private static let fitTokens = 8192
  private static let sampleTokens = 2048

  private let frame: LatentFrame
  private let sample: CalibrationSet
  private let form: LatentForm
  private let threads: Int

  package init(
    _ set: CalibrationSet, basis: LatentBasis, form: LatentForm, threads: Int
  ) throws(RegateError) {
    // The regressions have H unknowns for each dimension.
    let set = set.sample(max(Self.fitTokens, 4 * set.inputs.columns))
    frame = try LatentFrame(set, basis: basis, encoder: form.encoder, threads: threads)
    sample = set.sample(Self.sampleTokens)
    self.form = form
    self.threads = threads
  }

  /// The fewest dimensions, in steps of E/16, whose overlap reaches `wanted`, or comes as near to
  /// the overlap of all dimensions as `wanted` is to 1.
  package func smallest(overlap wanted: Double, atLeast least: Int) throws(RegateError) -> Start {
    let experts = frame.size
    let extra = form.similarity.largestSize(experts: experts) - experts
    let largest = try start(size: experts + extra)
    let enough = min(wanted, largest.overlap - (1 - wanted))
    let step = max(1, experts / 16)
    var size = (least + step - 1) / step * step
    while size < experts {
      // The shape that is best for all dimensions is a good one for fewer.
      let near = best(size: size + extra, shape: largest.shape)
      if let near, near.overlap >= enough { return try start(size: size + extra) }
      size += step
    }
    return largest
  }

  /// The best start of latent size R, at most `size`.
  package func start(size: Int) throws(RegateError) -> Start {
    guard let best = best(size: size, shape: nil) else {
      throw RegateError(
        .unreached, subject: "\(form.similarity.rawValue) router",
        "no starting point follows the original logits",
        advice: "use `similarity` dot or a larger calibration set")
    }
    return best
  }

  /// The best of all shapes, or of one; nil where none follows the original.
  private func best(size: Int, shape: Int?) -> Start? {
    precondition(size > 0)
    let shapes = LatentShapes(frame: frame.prefix(min(size, frame.size)), size: size)
      .candidates(form.similarity)
    var best: Start?
    for index in shapes.indices where index == shape ?? index {
      guard let fitted = calibrated(shapes[index], index) else { continue }
      if fitted.overlap > best?.overlap ?? -1 { best = fitted }
    }
    return best
  }

  /// The candidate with its scale and biases; nil where its similarities do not rise with the
  /// original's logits.
  private func calibrated(_ candidate: LatentShapes.Candidate, _ shape: Int) -> Start? {
    let experts = sample.router.experts
    let zeros = [Float](repeating: 0, count: experts)
    let identity = Array(0..<experts)
    var router = PrototypeRouter(
      encoder: candidate.encoder, similarity: candidate.similarity,
      logicalPrototypes: candidate.prototypes, logitBias: zeros,
      selectionBias: sample.router.selectionBias ?? zeros, physicalToLogical: identity,
      clonePrototypes: Matrix(rows: experts, columns: candidate.prototypes.columns),
      cloneBias: zeros, rule: sample.router.rule)
    let latent = router.latent(sample.inputs, threads: threads)
    let values = router.similarity.values(
      latent, prototypes: candidate.prototypes, threads: threads)
    guard
      let (scale, bias) = LogitRegression.fit(
        values, to: sample.logits, shiftFree: sample.router.rule.isShiftInvariant, threads: threads)
    else { return nil }
    router.logitBias = bias
    router.setScale(scale)
    let patched = router.route(
      latent: latent.mean, scores: router.scores(latent, threads: threads), threads: threads)
    let agreement = RoutingAgreement(
      original: sample.assignment, originalMap: identity, patched: patched, patchedMap: identity)
    return Start(router: router, overlap: agreement.overlap, shape: shape)
  }
}

extension PrototypeRouter {
  /// Sets the scale; a dot product takes it into its prototypes, cross-attention into the norm of
  /// its keys, as the official form must.
  fileprivate mutating func setScale(_ scale: Float) {
    switch similarity {
    case .dot:
      for index in logicalPrototypes.values.indices { logicalPrototypes.values[index] *= scale }
    case .crossAttention(var attention):
      for index in attention.key.norm.indices { attention.key.norm[index] *= scale }
      similarity = .crossAttention(attention)
    default: similarityScale = scale
    }
  }
}
