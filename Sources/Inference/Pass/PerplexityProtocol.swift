// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// Which positions count for NLL and perplexity.
package enum PerplexityProtocol: String, Sendable {
  /// Every position whose next token is in the same sequence.
  case all
  /// llama-perplexity's: of each window of n tokens the predictions made at positions n/2 to n - 2,
  /// which have at least half a window of context.
  case llama

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
  /// token of each replaced by `bos` where the vocabulary says so. It needs two of them.
  package static func llamaWindows(
    _ ids: [Int], length: Int, bos: Int?
  ) throws(RegateError) -> [[Int]] {
    precondition(length > 1)
    guard ids.count >= 2 * length else {
      throw RegateError(
        .missing, subject: "token ids",
        "the text has \(ids.count) tokens, but llama-perplexity's protocol needs two windows of"
          + " \(length)", advice: "give more text, or a shorter sequence length")
    }
    return (0..<ids.count / length).map { window in
      var tokens = Array(ids[window * length..<(window + 1) * length])
      if let bos { tokens[0] = bos }
      return tokens
    }
  }
}
