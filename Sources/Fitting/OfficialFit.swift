// SPDX-License-Identifier: Apache-2.0
//
// Distils a balanced linear gate into the router of the official LPR code (arXiv 2506.21328): one
// key per physical expert, weights a softmax of the K chosen scores, no bias of any kind.
//
//   mu  = Linear(SiLU(LayerNorm(x)))                                   [T,R]
//   s_j = q . k_j / sqrt(R),  q, k_j: CrossAttention.swift             [T,E]
//
// Cross-attention is the one of its metrics whose scale can grow. RMSNorm gives q and k one length
// each, so the start keeps the lengths out of the way, with two dimensions beside the latent ones:
//
//   query (y - y_mean, c, 0)       c large: its norm hardly depends on the token
//   key   (q_j, beta_j, lambda_j)  beta_j: the bias of expert j; lambda_j makes all norms one
//
// The query's norm weight is 0 in the last dimension. Gradient steps then bring all parameters
// nearer to the gate's softmax.

package import ByteStorage
package import Routing
import Tensors

/// The distillation of one gate.
package struct OfficialFit {
  private let set: CalibrationSet
  private let frame: LatentFrame
  private let sample: CalibrationSet
  private let size: Int
  private let options: FitOptions

  /// c relative to the root of E |y - y_mean|².
  private static let constants: [Float] = [1, 2, 4, 8]
  private static let fitTokens = 8192
  private static let sampleTokens = 2048
  /// Dimensions beside those of the frame.
  private static let extra = 2

  /// `set` is routed by the gate that is to be followed, physical experts as its experts.
  package init(
    _ set: CalibrationSet, latent: FitOptions.Latent, options: FitOptions
  ) throws(RegateError) {
    precondition(set.router.rule.scoring == .softmax && set.router.selectionBias == nil)
    let basis = try LatentBasis(router: set.router, logits: set.logits, threads: options.threads)
    let fitted = set.sample(max(Self.fitTokens, 4 * set.inputs.columns))
    // A softmax does not see one direction of the logits: E - 1 dimensions hold the others.
    let largest = max(1, basis.fullSize - 1) + Self.extra
    switch latent {
    case .automatic: size = largest
    case .size(let asked): size = min(max(asked, Self.extra + 1), largest)
    }
    frame = try LatentFrame(fitted, basis: basis, encoder: .gaussian, threads: options.threads)
      .prefix(size - Self.extra)
    self.set = set
    sample = set.sample(Self.sampleTokens)
    self.options = options
  }

  /// The router nearest to the gate, after `steps` gradient steps.
  package func train(steps: Int) throws(RegateError) -> PrototypeRouter {
    let start = try start()
    guard steps > 0 else { return start }
    var settings = RouterRefinement.Options()
    settings.steps = steps
    settings.seed = options.seed
    settings.threads = options.threads
    return RouterRefinement(set, options: settings).refine(start).router
  }

  /// The start with the largest overlap with the gate's choice on a sample.
  private func start() throws(RegateError) -> PrototypeRouter {
    let identity = Array(0..<sample.router.experts)
    var best: (overlap: Double, router: PrototypeRouter)?
    for constant in Self.constants {
      guard let router = candidate(constant) else { continue }
      let overlap = RoutingAgreement(
        original: sample.assignment, originalMap: identity,
        patched: router.route(sample.inputs, threads: options.threads), patchedMap: identity
      ).overlap
      if overlap > best?.overlap ?? -1 { best = (overlap, router) }
    }
    guard let best else {
      throw RegateError(
        .unreached, subject: "`router` lpr-official", "no starting point follows the gate",
        advice: "use `router` lpr, or a larger calibration set")
    }
    return best.router
  }

  /// nil where the scores do not rise with the gate's logits.
  private func candidate(_ relative: Float) -> PrototypeRouter? {
    let room = frame.size
    let root = Float(frame.variance.reduce(0, +).squareRoot())
    let constant = relative * max(root, 1e-6)
    let zero = [Float](repeating: 0, count: size)
    var shift = zero
    for index in 0..<room { shift[index] = -Float(frame.mean[index]) }
    shift[room] = constant
    var seen = [Float](repeating: 1, count: size)
    seen[room + 1] = 0
    let identity = Matrix.identity(size)
    let query = CrossAttention.Side(weight: identity, bias: shift, norm: seen)
    func router(keys: Matrix, scale: Float) -> PrototypeRouter {
      let key = CrossAttention.Side(
        weight: identity, bias: zero, norm: [Float](repeating: scale, count: size))
      return PrototypeRouter(
        prototypes: keys, encoder: paddedEncoder(),
        similarity: .crossAttention(CrossAttention(query: query, key: key)),
        rule: set.router.rule)
    }
    // Once without biases, to learn the scale and the biases that are missing.
    let plain = keys(bias: [Float](repeating: 0, count: sample.router.experts))
    let probe = router(keys: plain.keys, scale: plain.length)
    guard
      let (scale, bias) = LogitRegression.fit(
        probe.logits(sample.inputs, threads: options.threads), to: sample.logits, shiftFree: true,
        threads: options.threads)
    else { return nil }
    let factor = scale * biasFactor(query)
    let whole = keys(bias: bias.map { $0 / factor })
    return router(keys: whole.keys, scale: scale * whole.length)
  }

  /// What a bias coordinate of 1 adds to the scores at scale 1, mean over the sample.
  private func biasFactor(_ query: CrossAttention.Side) -> Float {
    let mean = paddedEncoder().mean(sample.inputs, threads: options.threads)
    let queries = query.normalised(query.projected(mean, threads: options.threads))
    return Float(queries.columnMeans(threads: options.threads)[frame.size])
  }

  /// (q_j, beta_j, lambda_j) [E,R] of one length.
  private func keys(bias: [Float]) -> (keys: Matrix, length: Float) {
    let inner = frame.prototypes.joined(Matrix(rows: bias.count, columns: 1, values: bias))
    let norms = inner.rowNorms()
    // A little more than the longest: no key loses its last coordinate.
    let length = 1.05 * max(norms.max() ?? 0, 1e-6)
    let rest = norms.map { max(0, length * length - $0 * $0).squareRoot() }
    return (inner.joined(Matrix(rows: bias.count, columns: 1, values: rest)), length)
  }

  /// The frame's encoder with outputs of 0 for the dimensions beside its own.
  private func paddedEncoder() -> GaussianEncoder {
    guard case .gaussian(let encoder) = frame.encoder(size: frame.size, scale: 1) else {
      preconditionFailure("the frame was made with a Gaussian encoder")
    }
    let room = frame.size
    let width = encoder.weight.columns
    var weight = Matrix(rows: 2 * size, columns: width)
    var bias = [Float](repeating: 0, count: 2 * size)
    for half in 0..<2 {
      for row in 0..<room {
        let target = half * size + row
        bias[target] = encoder.bias[half * room + row]
        for column in 0..<width {
          weight[target, column] = encoder.weight[half * room + row, column]
        }
      }
    }
    return GaussianEncoder(
      normWeight: encoder.normWeight, normBias: encoder.normBias, weight: weight, bias: bias)
  }
}
