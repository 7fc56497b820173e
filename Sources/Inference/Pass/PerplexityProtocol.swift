// SPDX-License-Identifier: Apache-2.0

/// Which positions count for NLL and perplexity.
public enum PerplexityProtocol: String, Sendable, CaseIterable {
  /// Every position whose next token is in the same sequence.
  case all
  /// llama-perplexity's: of each window of n tokens the predictions made at positions n/2 to n - 2,
  /// which have at least half a window of context.
  case llama

  /// The counted positions in words.
  public var description: String {
    switch self {
    case .all: "all positions"
    case .llama: "the second half of each window, as llama-perplexity counts"
    }
  }

  /// The counted positions in the row of all tokens.
  func positions(_ sequences: [Range<Int>]) -> [Int32] {
    sequences.flatMap { sequence in
      let first = self == .llama ? sequence.count / 2 : 0
      return
        (sequence.lowerBound + first..<max(sequence.upperBound - 1, sequence.lowerBound + first))
        .map(Int32.init)
    }
  }

  /// llama-perplexity's windows of `length` tokens: consecutive, the tail dropped, and the first
  /// token of each replaced by `bos` where the vocabulary says so.
  package static func llamaWindows(_ ids: [Int], length: Int, bos: Int?) -> [[Int]] {
    precondition(length > 1)
    return (0..<ids.count / length).map { window in
      var tokens = Array(ids[window * length..<(window + 1) * length])
      if let bos { tokens[0] = bos }
      return tokens
    }
  }
}
