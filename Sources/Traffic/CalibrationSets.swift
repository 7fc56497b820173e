// SPDX-License-Identifier: Apache-2.0

/// Traffic as it is asked for: files of text, token ids or captured activations, and what each is
/// for.
public struct CalibrationSets: Sendable, Hashable {
  /// Captures, or text and token ids that the model is run on.
  public var files: [String]
  /// The share of each file of `files` in the traffic, up to a factor; empty: all files are one
  /// set.
  public var weights: [Double]
  /// Traffic that is not balanced, but whose experts are never pruned.
  public var protected: [String]
  /// How text becomes sequences.
  public var tokens: TokenOptions

  public init(
    _ files: [String], weights: [Double] = [], protected: [String] = [],
    tokens: TokenOptions = .init()
  ) {
    self.files = files
    self.weights = weights
    self.protected = protected
    self.tokens = tokens
  }

  /// Every file that is read.
  package var allFiles: [String] { files + protected }
}
