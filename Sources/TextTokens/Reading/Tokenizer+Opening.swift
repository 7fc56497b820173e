// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints

extension Tokenizer {
  /// Reads the tokenizer of the model in the folder `directory`: its tokenizer.json, or else its
  /// vocab.json with merges.txt, tekken.json or tiktoken.model, and the tokens that files beside
  /// them declare.
  package init(directory: String) throws(RegateError) {
    self = try TokenizerFolder(directory).tokenizer()
  }

  /// Reads a tokenizer.json. What begins and ends a document is only known from its template.
  package init(json path: String) throws(RegateError) {
    self = try TokenizerJSON(path: path)
      .tokenizer(DeclaredTokens(config: nil, map: nil, added: nil))
  }

  /// Reads the vocabulary of a GGUF model.
  package init(_ checkpoint: GGUFCheckpoint) throws(RegateError) {
    self = try GGUFVocabulary(checkpoint.metadata, path: checkpoint.path).tokenizer()
  }

  /// The id of the token that is exactly `text`, if it is an added token or in the vocabulary.
  package func id(of text: String) -> Int? {
    let bytes = Array(text.utf8)
    return added.id(of: bytes) ?? addedAfterNormalization.id(of: bytes)
      ?? model.tokens.id(of: bytes).map { Int($0) }
  }
}
