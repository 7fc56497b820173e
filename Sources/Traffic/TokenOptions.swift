// SPDX-License-Identifier: Apache-2.0

public import Inference
public import Tensors

/// How text and ids become sequences, and how the model is run on them.
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
  /// How exactly the model's weights are multiplied, those of experts on captures too.
  public var precision: Precision

  public init(
    length: Int = 512, maxTokens: Int = 65536, field: String = "text", seed: UInt64 = 0,
    perplexity: PerplexityProtocol = .all, precision: Precision = .auto
  ) {
    self.length = length
    self.maxTokens = maxTokens
    self.field = field
    self.seed = seed
    self.perplexity = perplexity
    self.precision = precision
  }
}
