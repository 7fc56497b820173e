// SPDX-License-Identifier: Apache-2.0
//
// A router of any encoder and similarity that starts from the gate it replaces.
//
// In a LatentFrame the gate's logits are dot products y . q. Every other similarity is shaped so
// that, up to its scale and one bias per function, it comes near that dot product:
//
//   distances        |alpha y - p|², p = beta q + alpha y_mean, is -2 alpha beta y . q apart from
//                    |y|² (small where alpha << beta; cancels in a softmax) and |q|² (goes into the
//                    bias). h(Q) is nearly linear where Q varies little: tau = E Q / 2. Hellinger
//                    and 2-Wasserstein have a root at 0, so their prototypes' variances keep Q away
//                    from it.
//   cosine           one dimension is given up: z = [y - y_mean, M], p = [q, sqrt(kappa² - |q|²)].
//                    All |p| are equal, and |z| nearly constant for large M.
//   cross-attention  the same, exactly: M is the query's bias, and its norm's weight there is 0.
//
// Small tau and large M come nearer to the dot product but leave less of Float's precision and of
// the similarity's own character to refinement; the candidate with the largest overlap with the
// original's choice on a sample is kept. Scale and biases are fitted to the logits by least squares.

package import ByteStorage
import Foundation
package import Routing
package import Tensors

package enum LatentInitialiser {
  private static let fitTokens = 8192
  private static let sampleTokens = 2048

  /// The router of the given form and latent size R that best keeps what `router` does with
  /// `inputs` [T,H], whose `logits` [T,E] are known. R is at most `size`: E suffices for a dot
  /// product and E + 1 for all.
  package static func initialise(
    inputs: Matrix, logits: Matrix, router: FamilyRouter,
    encoder: PrototypeRouter.EncoderKind, similarity: PrototypeRouter.Similarity.Kind, size: Int,
    threads: Int
  ) throws(RegateError) -> PrototypeRouter {
    precondition(size > 0 && logits.rows == inputs.rows && inputs.rows > 0)
    let basis = try LatentBasis(router: router, logits: logits, threads: threads)
    let count = max(fitTokens, 4 * inputs.columns)
    let stride = max(1, (inputs.rows + count - 1) / count)
    let set = CalibrationSet(
      inputs: stride == 1
        ? inputs
        : inputs.gathering(rows: Array(Swift.stride(from: 0, to: inputs.rows, by: stride))),
      router: router, threads: threads)
    let frame = try LatentFrame(
      set, basis: basis, encoder: encoder, size: min(size, basis.fullSize), threads: threads)
    let sample = set.sample(sampleTokens)
    var best: (overlap: Double, router: PrototypeRouter)?
    for candidate in LatentShapes(frame: frame, size: size).candidates(similarity) {
      guard let fitted = calibrated(candidate, sample, threads: threads) else { continue }
      if fitted.overlap > best?.overlap ?? -1 { best = fitted }
    }
    guard let best else {
      throw RegateError(
        .unreached, subject: "\(similarity.rawValue) router",
        "no starting point follows the original logits",
        advice: "use --similarity dot or a larger calibration set")
    }
    return best.router
  }

  /// The candidate with its scale and biases, and its overlap with the original; nil where its
  /// similarities do not rise with the original's logits.
  private static func calibrated(
    _ candidate: LatentShapes.Candidate, _ sample: CalibrationSet, threads: Int
  ) -> (overlap: Double, router: PrototypeRouter)? {
    let experts = sample.router.experts
    let zeros = [Float](repeating: 0, count: experts)
    let identity = Array(0..<experts)
    var router = PrototypeRouter(
      encoder: candidate.encoder, similarity: candidate.similarity,
      functionPrototypes: candidate.prototypes, functionBias: zeros,
      functionPotentials: sample.router.selectionBias ?? zeros, slotFunction: identity,
      slotPrototypes: Matrix(rows: experts, columns: candidate.prototypes.columns),
      slotPotentials: zeros, rule: sample.router.rule)
    let latent = router.encodeGaussian(sample.inputs, threads: threads)
    let values = router.similarity.values(
      latent, prototypes: candidate.prototypes, threads: threads)
    guard let (scale, bias) = leastSquares(values, sample, threads: threads) else { return nil }
    router.functionBias = bias
    router.setScale(scale)
    let patched = router.route(
      latent: latent.mean,
      scores: router.rule.scores(router.logits(latent, threads: threads), threads: threads),
      threads: threads)
    let agreement = RoutingAgreement(
      original: sample.assignment, originalMap: identity, patched: patched, patchedMap: identity)
    return (agreement.overlap, router)
  }

  /// The scale and biases that bring `values` [T,F] nearest to the original's logits, up to a shift
  /// per token where the family does not see it.
  private static func leastSquares(
    _ values: Matrix, _ set: CalibrationSet, threads: Int
  ) -> (scale: Float, bias: [Float])? {
    let shiftFree = set.router.rule.isShiftInvariant
    let means = values.columnMeans(threads: threads)
    let logitMeans = set.logits.columnMeans(threads: threads)
    let count = values.columns
    var product = 0.0
    var square = 0.0
    for token in 0..<values.rows {
      var own = 0.0
      var target = 0.0
      var both = 0.0
      var squares = 0.0
      for column in 0..<count {
        let x = Double(values[token, column]) - means[column]
        let y = Double(set.logits[token, column]) - logitMeans[column]
        own += x
        target += y
        both += x * y
        squares += x * x
      }
      product += both - (shiftFree ? own * target / Double(count) : 0)
      square += squares - (shiftFree ? own * own / Double(count) : 0)
    }
    let scale = product / square
    guard scale.isFinite, scale > 0 else { return nil }
    let shift = shiftFree
      ? zip(logitMeans, means).reduce(0) { $0 + $1.0 - scale * $1.1 } / Double(count) : 0
    return (
      Float(scale), zip(logitMeans, means).map { Float($0 - scale * $1 - shift) }
    )
  }
}

extension PrototypeRouter {
  /// Sets the scale; cross-attention takes it into its own norm, as the official form must.
  fileprivate mutating func setScale(_ scale: Float) {
    if case .crossAttention(var attention) = similarity {
      for index in attention.key.norm.indices { attention.key.norm[index] *= scale }
      similarity = .crossAttention(attention)
    } else {
      similarityScale = scale
    }
  }
}
