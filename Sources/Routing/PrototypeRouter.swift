// SPDX-License-Identifier: Apache-2.0
//
// The prototype router: prototypes in a latent space with balance potentials, after Latent Prototype
// Routing (arXiv 2506.21328).
//
//   z      = Enc(x)                                        [T,R]
//   l_f    = scale sim(z, p_f) + a_f                       [T,F]
//   pi_f   = the family's score function of l
//   select = top-K over selectable functions of (pi_f + b_f + z . v_f), under the family's group limit
//   slot   = inside a chosen function: argmax_j (z . c_j + beta_j)
//   weight = the family's rule applied to the unbiased pi of the chosen functions
//
// T tokens, H hidden, R latent, E slots, F = E original functions, K top-k. A function is named by
// the slot that held it in the original. Functions that no slot holds any more stay in the softmax
// and cannot be chosen. Ties go to the lowest function, and to the lowest slot of a function.

import ByteStorage
public import Tensors

/// A router over functions (distinct experts), each served by one or more slots.
public struct PrototypeRouter: Router, Equatable {
  /// What maps router inputs to the latent space.
  public enum Encoder: Sendable, Equatable {
    /// z = x · weightᵀ, weight [R,H].
    case linear(Matrix)
    /// LPR's Linear(SiLU(LayerNorm(x))); z is its mean half.
    case gaussian(GaussianEncoder)

    public var kind: EncoderKind {
      switch self {
      case .linear: .linear
      case .gaussian: .gaussian
      }
    }
  }

  public var encoder: Encoder
  public var similarity: Similarity
  /// Multiplies the similarities. The official code has none, so that its bounded similarities give
  /// nearly equal weights (cosine: at most a factor e² apart); 1 is its behaviour.
  public var similarityScale: Float
  /// p [F,R].
  public var logicalPrototypes: Matrix
  /// a [F], added to the similarities before the score function: changes pi.
  public var logitBias: [Float]?
  /// b [F], added to pi for selection only.
  public var selectionBias: [Float]
  /// v [F,R]: how potentials lean on the token's place; nil where they are the same everywhere.
  public var tokenBias: Matrix?
  /// The function that each slot holds, [E].
  public var physicalToLogical: [Int]
  /// c [E,R]; rows of functions with a single slot are not used.
  public var clonePrototypes: Matrix
  /// beta [E].
  public var cloneBias: [Float]
  /// The family's rule, at function level: function f is in the group of slot f.
  public var rule: RoutingRule

  public init(
    encoder: Encoder, similarity: Similarity = .dot, similarityScale: Float = 1,
    logicalPrototypes: Matrix,
    logitBias: [Float]? = nil, selectionBias: [Float], tokenBias: Matrix? = nil,
    physicalToLogical: [Int], clonePrototypes: Matrix, cloneBias: [Float], rule: RoutingRule
  ) {
    let count = rule.experts
    precondition(logicalPrototypes.rows == count && selectionBias.count == count)
    precondition((logitBias?.count ?? count) == count)
    precondition((tokenBias?.rows ?? count) == count)
    precondition(physicalToLogical.count == count && cloneBias.count == count)
    precondition(clonePrototypes.rows == count)
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

  /// Number of slots, E.
  public var experts: Int { rule.experts }

  /// R.
  public var latentSize: Int { logicalPrototypes.columns }

  /// The slots of each function [F], ascending; empty for a function that was given up.
  public var physicalOfLogical: [[Int]] {
    var slots = [[Int]](repeating: [], count: experts)
    for (slot, function) in physicalToLogical.enumerated() { slots[function].append(slot) }
    return slots
  }

  /// z [T,R] of `inputs` [T,H].
  public func encode(_ inputs: Matrix, threads: Int) -> Matrix {
    switch encoder {
    case .linear(let weight):
      LinearAlgebra.multiply(inputs, transposed: weight, threads: threads)
    case .gaussian(let encoder): encoder.mean(inputs, threads: threads)
    }
  }

  /// Mean and log-variance of `inputs` [T,H]; the log-variance only where the encoder has one.
  public func encodeGaussian(_ inputs: Matrix, threads: Int) -> LatentGaussian {
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
  public func logits(_ latent: LatentGaussian, threads: Int) -> Matrix {
    var logits = similarity.values(latent, prototypes: logicalPrototypes, threads: threads)
    if similarityScale != 1 {
      for index in logits.values.indices { logits.values[index] *= similarityScale }
    }
    if let logitBias { logits.add(toEachRow: logitBias) }
    return logits
  }

  /// l [T,F] of `inputs` [T,H].
  public func logits(_ inputs: Matrix, threads: Int) -> Matrix {
    logits(latent(inputs, threads: threads), threads: threads)
  }

  /// pi [T,F] of latent Gaussians.
  package func scores(_ latent: LatentGaussian, threads: Int) -> Matrix {
    rule.scores(logits(latent, threads: threads), threads: threads)
  }

  public func route(_ inputs: Matrix, threads: Int) -> Assignment {
    let latent = latent(inputs, threads: threads)
    return route(
      latent: latent.mean, scores: scores(latent, threads: threads), threads: threads)
  }

  /// Routes tokens whose latent vectors [T,R] and scores [T,F] are known.
  package func route(latent z: Matrix, scores: Matrix, threads: Int) -> Assignment {
    let slots = physicalOfLogical
    let selection = Selection(
      rule: rule, bias: selectionBias, selectable: slots.map { !$0.isEmpty })
    let cloned = slots.contains { $0.count > 1 }
    let nearness = cloned ? cloneScores(latent: z, threads: threads) : nil
    let compared = compared(scores, latent: z, threads: threads)
    return selection.assign(scores, compared: compared, threads: threads) { token, function in
      let candidates = slots[function]
      guard candidates.count > 1, let nearness else { return candidates[0] }
      var best = candidates[0]
      for slot in candidates.dropFirst() where nearness[token, slot] > nearness[token, best] {
        best = slot
      }
      return best
    }
  }

  /// pi + z . v [T,F]: what selection compares, but for b.
  package func compared(_ scores: Matrix, latent z: Matrix, threads: Int) -> Matrix {
    guard let tokenBias else { return scores }
    return Self.leaning(scores, latent: z, slopes: tokenBias, threads: threads)
  }

  /// `scores` [T,F] + z . v, of latent vectors z [T,R] and slopes v [F,R].
  package static func leaning(
    _ scores: Matrix, latent z: Matrix, slopes: Matrix, threads: Int
  ) -> Matrix {
    var sum = LinearAlgebra.multiply(z, transposed: slopes, threads: threads)
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
  /// The router of the official LPR code: each slot has a prototype, `slots` [E,R], the K largest
  /// similarities are chosen, and their softmax are the weights.
  package init(
    slots: Matrix, encoder: GaussianEncoder, similarity: Similarity, rule: RoutingRule
  ) {
    let zeros = [Float](repeating: 0, count: slots.rows)
    var rule = rule
    // Similarities are compared as they are: a softmax of all would make small ones equal.
    rule.scoring = .softmaxOfSelected
    rule.normalise = false
    self.init(
      encoder: .gaussian(encoder), similarity: similarity, logicalPrototypes: slots,
      selectionBias: zeros, physicalToLogical: Array(0..<slots.rows),
      clonePrototypes: Matrix(rows: slots.rows, columns: slots.columns), cloneBias: zeros,
      rule: rule)
  }
}
