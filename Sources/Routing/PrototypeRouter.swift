// SPDX-License-Identifier: Apache-2.0
//
// The native router: prototypes in a latent space with balance potentials, after Latent Prototype
// Routing (arXiv 2506.21328).
//
//   z      = Enc(x)                                        [T,R]
//   l_f    = sim(z, p_f) + a_f                             [T,F]
//   pi_f   = the family's score function of l
//   select = top-K over selectable functions of (pi_f + b_f), under the family's node limit
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
  }

  /// How near a latent vector is to a prototype.
  public enum Similarity: String, Sendable, Equatable {
    /// z . p_f
    case dot
  }

  public var encoder: Encoder
  public var similarity: Similarity
  /// p [F,R].
  public var functionPrototypes: Matrix
  /// a [F], added to the similarities before the score function: changes pi.
  public var functionBias: [Float]?
  /// b [F], added to pi for selection only.
  public var functionPotentials: [Float]
  /// The function that each slot holds, [E].
  public var slotFunction: [Int]
  /// c [E,R]; rows of functions with a single slot are not used.
  public var slotPrototypes: Matrix
  /// beta [E].
  public var slotPotentials: [Float]
  /// The family's rule, at function level: function f is in the node of slot f.
  public var rule: RoutingRule

  public init(
    encoder: Encoder, similarity: Similarity = .dot, functionPrototypes: Matrix,
    functionBias: [Float]? = nil, functionPotentials: [Float], slotFunction: [Int],
    slotPrototypes: Matrix, slotPotentials: [Float], rule: RoutingRule
  ) {
    let count = rule.experts
    precondition(functionPrototypes.rows == count && functionPotentials.count == count)
    precondition((functionBias?.count ?? count) == count)
    precondition(slotFunction.count == count && slotPotentials.count == count)
    precondition(slotPrototypes.rows == count)
    precondition(slotPrototypes.columns == functionPrototypes.columns)
    precondition(slotFunction.allSatisfy { (0..<count).contains($0) })
    self.encoder = encoder
    self.similarity = similarity
    self.functionPrototypes = functionPrototypes
    self.functionBias = functionBias
    self.functionPotentials = functionPotentials
    self.slotFunction = slotFunction
    self.slotPrototypes = slotPrototypes
    self.slotPotentials = slotPotentials
    self.rule = rule
  }

  /// Number of slots, E.
  public var experts: Int { rule.experts }

  /// R.
  public var latentSize: Int { functionPrototypes.columns }

  /// The slots of each function [F], ascending; empty for a function that was given up.
  public var slotsOfFunction: [[Int]] {
    var slots = [[Int]](repeating: [], count: experts)
    for (slot, function) in slotFunction.enumerated() { slots[function].append(slot) }
    return slots
  }

  /// z [T,R] of `inputs` [T,H].
  public func encode(_ inputs: Matrix, threads: Int) -> Matrix {
    switch encoder {
    case .linear(let weight):
      LinearAlgebra.multiply(inputs, transposed: weight, threads: threads)
    }
  }

  /// pi [T,F] of latent vectors `z` [T,R].
  public func scores(latent z: Matrix, threads: Int) -> Matrix {
    var logits =
      switch similarity {
      case .dot: LinearAlgebra.multiply(z, transposed: functionPrototypes, threads: threads)
      }
    if let functionBias { logits.add(toEachRow: functionBias) }
    return rule.scores(logits, threads: threads)
  }

  public func route(_ inputs: Matrix, threads: Int) -> Assignment {
    let z = encode(inputs, threads: threads)
    return route(latent: z, scores: scores(latent: z, threads: threads), threads: threads)
  }

  /// Routes tokens whose latent vectors [T,R] and scores [T,F] are known.
  package func route(latent z: Matrix, scores: Matrix, threads: Int) -> Assignment {
    let slots = slotsOfFunction
    let selection = Selection(
      rule: rule, bias: functionPotentials, selectable: slots.map { !$0.isEmpty })
    let cloned = slots.contains { $0.count > 1 }
    let nearness = cloned ? slotScores(latent: z, threads: threads) : nil
    return selection.assign(scores, threads: threads) { token, function in
      let candidates = slots[function]
      guard candidates.count > 1, let nearness else { return candidates[0] }
      var best = candidates[0]
      for slot in candidates.dropFirst() where nearness[token, slot] > nearness[token, best] {
        best = slot
      }
      return best
    }
  }

  /// z . c_j + beta_j, [T,E].
  package func slotScores(latent z: Matrix, threads: Int) -> Matrix {
    var scores = LinearAlgebra.multiply(z, transposed: slotPrototypes, threads: threads)
    scores.add(toEachRow: slotPotentials)
    return scores
  }
}
