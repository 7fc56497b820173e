// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// Bounds on what a vocabulary may hold.
enum VocabularyLimit {
  /// Token ids are 32-bit in llama.cpp and in tokenizers; the largest vocabularies have 2^18.
  static let id = 1 << 24
  /// Longest token whose every split is looked up, where merges come from the vocabulary. The
  /// longest published ones have 256 bytes.
  static let splitToken = 1024
  /// Steps of a pre-tokenizer, or of a normalizer. Published ones have four.
  static let steps = 64
  /// How many times as long normalizers may make a text. Published ones put three bytes for one.
  static let growth = 1024
}

extension RegateError {
  /// An error about a tokenizer file.
  static func tokenizer(
    _ code: Code, _ path: String, _ subject: String?, _ problem: String, advice: String? = nil
  ) -> RegateError {
    RegateError(code, file: path, subject: subject, problem, advice: advice)
  }
}
