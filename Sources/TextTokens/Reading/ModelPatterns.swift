// SPDX-License-Identifier: Apache-2.0

/// Patterns that are part of a model's code, where its files hold a vocabulary only.
enum ModelPatterns {
  private static let contractions = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)"#
  private static let spaces = #"|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// From transformers, tokenization_qwen2.py.
  static let qwen2 =
    contractions + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + spaces
  /// From transformers, tokenization_qwen3_5.py.
  static let qwen35 =
    contractions + #"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"#
    + spaces

  /// From tokenization_kimi.py.
  static let kimiK2 =
    #"[\p{Han}]+|"#
    + words(
      #"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#, #"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"#)
    + #"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"# + spaces

  /// A word with at most one change from upper to lower case, and what is contracted with it.
  private static func words(_ upper: String, _ lower: String) -> String {
    let lead = #"[^\r\n\p{L}\p{N}]?"#
    return lead + upper + "*" + lower + "+" + contractions + "?|"
      + lead + upper + "+" + lower + "*" + contractions + "?"
  }
}
