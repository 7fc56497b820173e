// SPDX-License-Identifier: Apache-2.0

/// Which K experts each of T tokens goes to, and with what weights.
public struct Assignment: Sendable, Equatable {
  public let tokens: Int
  public let topK: Int
  /// [T,K] expert (slot) indices, best first.
  public var slots: [Int32]
  /// [T,K] weights, after renormalising and scaling.
  public var weights: [Float]

  public init(tokens: Int, topK: Int, slots: [Int32], weights: [Float]) {
    precondition(slots.count == tokens * topK && weights.count == tokens * topK)
    self.tokens = tokens
    self.topK = topK
    self.slots = slots
    self.weights = weights
  }

  /// Top-k assignments per slot, counted: E values that sum to T*K.
  public func load(experts: Int) -> [Int] {
    var load = [Int](repeating: 0, count: experts)
    for slot in slots { load[Int(slot)] += 1 }
    return load
  }
}

extension Assignment {
  /// The given tokens, in the given order.
  package func gathering(tokens: [Int]) -> Assignment {
    var slots: [Int32] = []
    var weights: [Float] = []
    for token in tokens {
      slots += self.slots[token * topK..<(token + 1) * topK]
      weights += self.weights[token * topK..<(token + 1) * topK]
    }
    return Assignment(tokens: tokens.count, topK: topK, slots: slots, weights: weights)
  }
}
