// SPDX-License-Identifier: Apache-2.0

public import Inference

/// How text and ids become sequences.
public struct TokenOptions: Sendable, Hashable {
  /// Longest sequence, in tokens.
  public var length: Int
  /// Tokens in all; from a larger set whole sequences are chosen at random.
  public var maxTokens: Int
  /// The key of a JSON line's text.
  public var field: String
  /// Seed of the choice among sequences.
  public var seed: UInt64
  /// Which positions perplexity is about, and how text is cut for it: `llama` takes consecutive
  /// windows from the beginning of each text, drops its tail, and chooses the first ones.
  public var perplexity: PerplexityProtocol

  public init(
    length: Int = 512, maxTokens: Int = 65536, field: String = "text", seed: UInt64 = 0,
    perplexity: PerplexityProtocol = .all
  ) {
    self.length = length
    self.maxTokens = maxTokens
    self.field = field
    self.seed = seed
    self.perplexity = perplexity
  }
}
