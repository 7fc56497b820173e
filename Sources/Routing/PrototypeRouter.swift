// SPDX-License-Identifier: Apache-2.0
//
// The prototype router: prototypes in a latent space with biases that balance the load, after
// Latent Prototype Routing (arXiv 2506.21328).
//
//   z      = Enc(x)                                        [T,R]
//   l_f    = scale sim(z, p_f) + a_f                       [T,F]
//   pi_f   = the family's score function of l
//   select = top-K over selectable f of (pi_f + b_f + z . v_f), under the family's group limit
//   serve  = among the physical experts j of a chosen f: argmax_j (z . c_j + beta_j)
//   weight = the family's rule applied to the unbiased pi of the chosen f
//
// T tokens, H hidden, R latent, E physical experts (as they lie on disk), F >= E logical experts
// (the original's), K top-k. A logical expert f is named by where it lay in the original. Those
// that were pruned stay in the softmax and cannot be chosen. Ties go to the lowest logical expert,
// and to its lowest physical one.

import ByteStorage
package import Tensors

/// A router over logical experts, each served by one or more physical ones.
package struct PrototypeRouter: Router, Equatable {
  /// What maps router inputs to the latent space.
  package enum Encoder: Sendable, Equatable {
    /// z = x · weightᵀ, weight [R,H].
    case linear(Matrix)
    /// LPR's Linear(SiLU(LayerNorm(x))); z is its mean half.
    case gaussian(GaussianEncoder)

    package var kind: EncoderKind {
      switch self {
      case .linear: .linear
      case .gaussian: .gaussian
      }
    }
  }

  package var encoder: Encoder
  package var similarity: Similarity
  /// Multiplies the similarities. The official code has none, so that its bounded similarities give
  /// nearly equal weights (cosine: at most a factor e² apart); 1 is its behaviour.
  package var similarityScale: Float
  /// p [F,R].
  package var logicalPrototypes: Matrix
  /// a [F], added to the similarities before the score function: changes pi.
  package var logitBias: [Float]?
  /// b [F], added to pi for selection only.
  package var selectionBias: [Float]
  /// v [F,R]: z . v is added to b, so that it depends on the token; nil where it does not.
  package var tokenBias: Matrix?
  /// The logical expert that each physical one is a copy of, [E].
  package var physicalToLogical: [Int]
  /// c [E,R]; rows of logical experts without clones are not used.
  package var clonePrototypes: Matrix
  /// beta [E], added to z . c to balance clones.
  package var cloneBias: [Float]
  /// The family's rule over logical experts: f is in the group of where it lay in the original.
  package var rule: RoutingRule

  package init(
    encoder: Encoder, similarity: Similarity = .dot, similarityScale: Float = 1,
    logicalPrototypes: Matrix,
    logitBias: [Float]? = nil, selectionBias: [Float], tokenBias: Matrix? = nil,
    physicalToLogical: [Int], clonePrototypes: Matrix, cloneBias: [Float], rule: RoutingRule
  ) {
    let count = rule.experts
    precondition(logicalPrototypes.rows == count && selectionBias.count == count)
    precondition((logitBias?.count ?? count) == count)
    precondition((tokenBias?.rows ?? count) == count)
    precondition(physicalToLogical.count <= count)
    precondition(cloneBias.count == physicalToLogical.count)
    precondition(clonePrototypes.rows == physicalToLogical.count)
    precondition(clonePrototypes.columns == logicalPrototypes.columns)
    precondition(tokenBias.map { $0.columns == logicalPrototypes.columns } ?? true)
    precondition(physicalToLogical.allSatisfy { (0..<count).contains($0) })
    self.encoder = encoder
    self.similarity = similarity
    self.similarityScale = similarityScale
    self.logicalPrototypes = logicalPrototypes
    self.logitBias = logitBias
    self.selectionBias = selectionBias
    self.tokenBias = tokenBias
    self.physicalToLogical = physicalToLogical
    self.clonePrototypes = clonePrototypes
    self.cloneBias = cloneBias
    self.rule = rule
  }

  /// Number of physical experts, E: as many as there are logical ones, or fewer where some were
  /// pruned and nothing took their places.
  package var experts: Int { physicalToLogical.count }

  /// R.
  package var latentSize: Int { logicalPrototypes.columns }

  /// The physical experts of each logical one [F], ascending; empty for a pruned one.
  package var physicalOfLogical: [[Int]] {
    var result = [[Int]](repeating: [], count: rule.experts)
    for (physical, logical) in physicalToLogical.enumerated() { result[logical].append(physical) }
    return result
  }

  /// z [T,R] of `inputs` [T,H].
  package func encode(_ inputs: Matrix, threads: Int) -> Matrix {
    switch encoder {
    case .linear(let weight):
      LinearAlgebra.multiply(inputs, transposed: weight, threads: threads)
    case .gaussian(let encoder): encoder.mean(inputs, threads: threads)
    }
  }

  /// Mean and log-variance of `inputs` [T,H]; the log-variance only where the encoder has one.
  package func encodeGaussian(_ inputs: Matrix, threads: Int) -> LatentGaussian {
    switch encoder {
    case .linear: LatentGaussian(mean: encode(inputs, threads: threads))
    case .gaussian(let encoder): encoder.encode(inputs, threads: threads)
    }
  }

  /// What the similarity needs of `inputs` [T,H].
  package func latent(_ inputs: Matrix, threads: Int) -> LatentGaussian {
    similarity.comparesDistributions
      ? encodeGaussian(inputs, threads: threads)
      : LatentGaussian(mean: encode(inputs, threads: threads))
  }

  /// l [T,F] of latent Gaussians.
  package func logits(_ latent: LatentGaussian, threads: Int) -> Matrix {
    var logits = similarity.values(latent, prototypes: logicalPrototypes, threads: threads)
    if similarityScale != 1 {
      for index in logits.values.indices { logits.values[index] *= similarityScale }
    }
    if let logitBias { logits.add(toEachRow: logitBias) }
    return logits
  }

  /// l [T,F] of `inputs` [T,H].
  package func logits(_ inputs: Matrix, threads: Int) -> Matrix {
    logits(latent(inputs, threads: threads), threads: threads)
  }

  /// pi [T,F] of latent Gaussians.
  package func scores(_ latent: LatentGaussian, threads: Int) -> Matrix {
    rule.scores(logits(latent, threads: threads), threads: threads)
  }

  package func route(_ inputs: Matrix, threads: Int) -> Assignment {
    let latent = latent(inputs, threads: threads)
    return route(
      latent: latent.mean, scores: scores(latent, threads: threads), threads: threads)
  }

  /// Routes tokens whose latent vectors [T,R] and scores [T,F] are known.
  package func route(latent z: Matrix, scores: Matrix, threads: Int) -> Assignment {
    let copies = physicalOfLogical
    let selection = Selection(
      rule: rule, bias: selectionBias, selectable: copies.map { !$0.isEmpty })
    let cloned = copies.contains { $0.count > 1 }
    let nearness = cloned ? cloneScores(latent: z, threads: threads) : nil
    let compared = compared(scores, latent: z, threads: threads)
    return selection.assign(scores, compared: compared, threads: threads) { token, logical in
      let candidates = copies[logical]
      guard candidates.count > 1, let nearness else { return candidates[0] }
      var best = candidates[0]
      for clone in candidates.dropFirst() where nearness[token, clone] > nearness[token, best] {
        best = clone
      }
      return best
    }
  }

  /// pi + z . v [T,F]: what selection compares, but for b.
  package func compared(_ scores: Matrix, latent z: Matrix, threads: Int) -> Matrix {
    guard let tokenBias else { return scores }
    return Self.compared(scores, latent: z, tokenBias: tokenBias, threads: threads)
  }

  /// `scores` [T,F] + z . v, of latent vectors z [T,R] and token-dependent biases v [F,R].
  package static func compared(
    _ scores: Matrix, latent z: Matrix, tokenBias: Matrix, threads: Int
  ) -> Matrix {
    var sum = LinearAlgebra.multiply(z, transposed: tokenBias, threads: threads)
    for index in sum.values.indices { sum.values[index] += scores.values[index] }
    return sum
  }

  /// z . c_j + beta_j, [T,E].
  package func cloneScores(latent z: Matrix, threads: Int) -> Matrix {
    var scores = LinearAlgebra.multiply(z, transposed: clonePrototypes, threads: threads)
    scores.add(toEachRow: cloneBias)
    return scores
  }
}

extension PrototypeRouter {
  /// The router of the official LPR code: each expert has a prototype, `prototypes` [E,R], the K
  /// largest similarities are chosen, and their softmax are the weights.
  package init(
    prototypes: Matrix, encoder: GaussianEncoder, similarity: Similarity, rule: RoutingRule
  ) {
    let zeros = [Float](repeating: 0, count: prototypes.rows)
    var rule = rule
    // Similarities are compared as they are: a softmax of all would make small ones equal.
    rule.scoring = .softmaxOfSelected
    rule.normalise = false
    self.init(
      encoder: .gaussian(encoder), similarity: similarity, logicalPrototypes: prototypes,
      selectionBias: zeros, physicalToLogical: Array(0..<prototypes.rows),
      clonePrototypes: Matrix(rows: prototypes.rows, columns: prototypes.columns), cloneBias: zeros,
      rule: rule)
  }
}
