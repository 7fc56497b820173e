// SPDX-License-Identifier: Apache-2.0

/// Which K experts each of T tokens goes to, and with what weights.
package struct Assignment: Sendable, Equatable {
  package let tokens: Int
  package let topK: Int
  /// [T,K] physical experts, best first.
  package var experts: [Int32]
  /// [T,K] weights, after renormalising and scaling.
  package var weights: [Float]

  package init(tokens: Int, topK: Int, experts: [Int32], weights: [Float]) {
    precondition(experts.count == tokens * topK && weights.count == tokens * topK)
    self.tokens = tokens
    self.topK = topK
    self.experts = experts
    self.weights = weights
  }

  /// Top-k assignments per physical expert, counted: E values that sum to T*K.
  package func load(experts count: Int) -> [Int] {
    var load = [Int](repeating: 0, count: count)
    for expert in experts { load[Int(expert)] += 1 }
    return load
  }
}

extension Assignment {
  /// The given tokens, in the given order.
  package func gathering(tokens: [Int]) -> Assignment {
    var experts: [Int32] = []
    var weights: [Float] = []
    for token in tokens {
      experts += self.experts[token * topK..<(token + 1) * topK]
      weights += self.weights[token * topK..<(token + 1) * topK]
    }
    return Assignment(tokens: tokens.count, topK: topK, experts: experts, weights: weights)
  }
}
