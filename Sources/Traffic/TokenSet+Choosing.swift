// SPDX-License-Identifier: Apache-2.0

import Inference
import Tensors

extension TokenSet {
  /// Whole sequences of at most so many tokens, a seeded choice.
  package func limited(to tokens: Int, _ options: TokenOptions) -> TokenSet {
    var options = options
    options.maxTokens = max(2, tokens)
    return TokenSet(sequences: TokenSet.chosen(sequences, options), runnable: runnable)
  }

  /// Whole sequences up to the budget, in their order; a seeded choice of a larger set.
  static func chosen(_ sequences: [[Int]], _ options: TokenOptions) -> [[Int]] {
    guard sequences.reduce(0, { $0 + $1.count }) > options.maxTokens else { return sequences }
    if options.perplexity == .llama {
      return Array(sequences.prefix(max(2, options.maxTokens / options.length)))
    }
    var random = SplitMix64(seed: options.seed)
    var order = Array(sequences.indices)
    for index in order.indices.dropLast() {
      order.swapAt(index, index + Int(random.next() % UInt64(order.count - index)))
    }
    var budget = options.maxTokens
    let kept = order.filter { index in
      guard sequences[index].count <= budget else { return false }
      budget -= sequences[index].count
      return true
    }
    return kept.isEmpty
      ? [Array(sequences[0].prefix(max(2, options.maxTokens)))]
      : kept.sorted().map { sequences[$0] }
  }
}
