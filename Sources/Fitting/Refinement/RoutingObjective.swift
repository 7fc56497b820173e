// SPDX-License-Identifier: Apache-2.0
//
// What refinement minimises over a batch: how far the router's weights of logical experts are from
// the original's, plus the paper's losses and a balance term, each times its weight.
//
//   softmax families   KL(pi || pi'), pi over all experts          d/dl' = pi' - pi
//   others             sum_f KL(Bernoulli(sigma(l)) || ..(l'))     d/dl' = sigma(l') - sigma(l)
//
// both averaged over tokens; l are the original's logits. Knowing pi of every expert, not only of
// the chosen K, is what tells the router which one comes next. The minimum is 0, at l' = l. The
// balance term sees pi' normalised over logical experts, with the selection bias added to l'.

import Foundation
package import Routing
package import Tensors

/// The weights of the terms beside the distance from the original; 0 leaves a term out.
package struct LossWeights: Sendable, Hashable {
  package var diversityKind = Diversity.orthogonal
  /// On the latents and on the prototypes.
  package var diversity: Float = 0
  package var divergence: Float = 0
  package var alignment: Float = 0
  package var balance: Float = 0

  package init() {}
}

/// The gradient of the objective with respect to all of a router that learns.
package struct RouterGradient: Sendable {
  package var value: Double
  /// In the order of `Encoder.parameters`.
  package var encoder: [Matrix]
  package var similarity: [Matrix]
  package var prototypes: Matrix
  /// [1,F]
  package var bias: Matrix
  /// With respect to log similarityScale.
  package var logScale: Float
}

/// What refinement minimises.
package struct RoutingObjective: Sendable {
  package let weights: LossWeights
  package let threads: Int

  package init(weights: LossWeights, threads: Int) {
    self.weights = weights
    self.threads = threads
  }

  /// What the router is judged by: the distance and the balance term, without the paper's losses,
  /// which shape the latent space only.
  package func outcome(_ router: PrototypeRouter, inputs: Matrix, logits: Matrix) -> Double {
    let own = router.logits(inputs, threads: threads)
    var (value, unused) = distance(own, towards: logits, rule: router.rule)
    if weights.balance != 0 { value += addBalance(own, router, to: &unused) }
    return value
  }

  /// `logits` [T,F] are the original's, `noise` [T,R] is for the alignment loss.
  package func evaluate(
    _ router: PrototypeRouter, inputs: Matrix, logits: Matrix, noise: Matrix? = nil
  ) -> RouterGradient {
    let latent = router.encodeGaussian(inputs, threads: threads)
    let similarities = router.similarity.values(
      latent, prototypes: router.logicalPrototypes, threads: threads)
    var own = similarities
    for index in own.values.indices { own.values[index] *= router.similarityScale }
    if let bias = router.logitBias { own.add(toEachRow: bias) }
    var (value, upstream) = distance(own, towards: logits, rule: router.rule)
    if weights.balance != 0 { value += addBalance(own, router, to: &upstream) }

    let bias = upstream.columnSums()
    var logScale = 0.0
    for index in upstream.values.indices {
      upstream.values[index] *= router.similarityScale
      logScale += Double(upstream.values[index]) * Double(similarities.values[index])
    }
    var inner = router.similarity.gradient(
      latent, prototypes: router.logicalPrototypes, values: similarities, upstream: upstream,
      threads: threads)
    value += addLatentLosses(router, latent, own, noise, to: &inner)
    return RouterGradient(
      value: value,
      encoder: router.encoder.gradient(
        inputs: inputs, mean: inner.mean, logVariance: inner.logVariance, threads: threads),
      similarity: inner.parameters, prototypes: inner.prototypes, bias: bias,
      logScale: Float(logScale))
  }

  /// The first term and its gradient with respect to `logits` [T,F].
  private func distance(
    _ logits: Matrix, towards original: Matrix, rule: RoutingRule
  ) -> (value: Double, gradient: Matrix) {
    precondition(logits.rows == original.rows && logits.columns == original.columns)
    let width = logits.columns
    let joint = rule.scoring != .sigmoid && rule.scoring != .sqrtSoftplus
    let parts = mapBlocks(count: logits.rows, blockSize: 256, threads: threads) { _, tokens in
      var gradient: [Float] = []
      gradient.reserveCapacity(tokens.count * width)
      var value = 0.0
      for token in tokens {
        let row = token * width..<(token + 1) * width
        let own = logits.values.span.extracting(row)
        let target = original.values.span.extracting(row)
        value +=
          joint
          ? Self.softmaxTerm(own, target, &gradient) : Self.sigmoidTerm(own, target, &gradient)
      }
      return (value, gradient)
    }
    let tokens = Double(max(1, logits.rows))
    let scale = Float(1 / tokens)
    return (
      parts.reduce(0) { $0 + $1.0 } / tokens,
      Matrix(rows: logits.rows, columns: width, values: parts.flatMap { $0.1.map { $0 * scale } })
    )
  }

  private static func softmaxTerm(
    _ own: Span<Float>, _ target: Span<Float>, _ gradient: inout [Float]
  ) -> Double {
    var (ownLargest, targetLargest) = (-Float.infinity, -Float.infinity)
    for index in 0..<own.count {
      ownLargest = max(ownLargest, own[index])
      targetLargest = max(targetLargest, target[index])
    }
    var (ownSum, targetSum) = (0.0, 0.0)
    for index in 0..<own.count {
      ownSum += Double(expf(own[index] - ownLargest))
      targetSum += Double(expf(target[index] - targetLargest))
    }
    let (ownLog, targetLog) = (log(ownSum), log(targetSum))
    var value = 0.0
    for index in 0..<own.count {
      let q = Double(own[index] - ownLargest) - ownLog
      let p = Double(target[index] - targetLargest) - targetLog
      value += exp(p) * (p - q)
      gradient.append(Float(exp(q) - exp(p)))
    }
    return value
  }

  private static func sigmoidTerm(
    _ own: Span<Float>, _ target: Span<Float>, _ gradient: inout [Float]
  ) -> Double {
    var value = 0.0
    for index in 0..<own.count {
      let (l, t) = (Double(own[index]), Double(target[index]))
      let (q, p) = (1 / (1 + exp(-l)), 1 / (1 + exp(-t)))
      // p log(p / q) + (1 - p) log((1 - p) / (1 - q)), by softplus(x) = log(1 + exp x).
      value += softplus(l) - softplus(t) - p * (l - t)
      gradient.append(Float(q - p))
    }
    return value
  }

  private static func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }

  /// The balance term, its gradient added to `upstream` [T,F].
  private func addBalance(
    _ logits: Matrix, _ router: PrototypeRouter, to upstream: inout Matrix
  ) -> Double {
    let copies = router.physicalOfLogical
    let count = Double(router.experts)
    // A pruned expert cannot be chosen: its small target only keeps terms finite.
    let targets = copies.map { max(Double($0.count), 1e-3) / count }
    var shifted = logits
    shifted.add(toEachRow: router.selectionBias)
    let shares = RoutingRule(
      experts: router.experts, topK: router.rule.topK, scoring: .softmax, normalise: false
    ).scores(shifted, threads: threads)
    let total = targets.reduce(0, +)
    let term = LatentLosses.balance(shares, targets: targets.map { $0 / total })
    for token in 0..<shares.rows {
      var mean: Float = 0
      for column in 0..<shares.columns { mean += shares[token, column] * term.gradient[column] }
      for column in 0..<shares.columns {
        upstream[token, column] +=
          weights.balance * shares[token, column] * (term.gradient[column] - mean)
      }
    }
    return Double(weights.balance) * term.value
  }

  /// The paper's losses, their gradients added to `gradient`.
  private func addLatentLosses(
    _ router: PrototypeRouter, _ latent: LatentGaussian, _ logits: Matrix, _ noise: Matrix?,
    to gradient: inout SimilarityGradient
  ) -> Double {
    var value = 0.0
    if weights.diversity != 0 {
      let tokens = weights.diversityKind.evaluate(latent.mean, threads: threads)
      let prototypes = weights.diversityKind.evaluate(router.logicalPrototypes, threads: threads)
      value += Double(weights.diversity) * (tokens.value + prototypes.value)
      gradient.mean.add(tokens.gradient, scale: weights.diversity)
      gradient.prototypes.add(prototypes.gradient, scale: weights.diversity)
    }
    if weights.divergence != 0, let logVariance = latent.logVariance {
      let term = LatentLosses.divergence(latent.mean, logVariance: logVariance)
      value += Double(weights.divergence) * term.value
      gradient.mean.add(term.mean, scale: weights.divergence)
      var variances =
        gradient.logVariance
        ?? Matrix(rows: logVariance.rows, columns: logVariance.columns)
      variances.add(term.logVariance, scale: weights.divergence)
      gradient.logVariance = variances
    }
    if weights.alignment != 0 {
      let sample = noise.map { LatentLosses.sample(latent, noise: $0) } ?? latent.mean
      let chosen = router.route(
        latent: latent.mean, scores: router.rule.scores(logits, threads: threads),
        threads: threads)
      let term = LatentLosses.alignment(
        prototypes: router.logicalPrototypes, sample: sample,
        responsibilities: chosen.responsibilities(
          physicalToLogical: router.physicalToLogical, logicals: router.experts))
      value += Double(weights.alignment) * term.value
      gradient.prototypes.add(term.gradient, scale: weights.alignment)
    }
    return value
  }
}
