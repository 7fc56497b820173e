// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import Foundation

extension Tokenizer {
  /// Reads the tokenizer of the model in the folder `directory`: its tokenizer.json, or else its
  /// tiktoken.model.
  package init(directory: String) throws(RegateError) {
    let folder = URL(filePath: directory, directoryHint: .isDirectory)
    func path(_ name: String) -> String { folder.appending(path: name).path(percentEncoded: false) }
    let config = path("tokenizer_config.json")
    let settings =
      FileManager.default.fileExists(atPath: config) ? try JSONValue(contentsOf: config) : nil
    if FileManager.default.fileExists(atPath: path("tokenizer.json")) {
      self = try TokenizerJSON(path: path("tokenizer.json")).tokenizer()
    } else if FileManager.default.fileExists(atPath: path("tiktoken.model")) {
      self = try TiktokenFile(path: path("tiktoken.model")).tokenizer(config: settings)
    } else {
      let sentencePiece = FileManager.default.fileExists(atPath: path("tokenizer.model"))
      throw RegateError(
        .missing, file: directory, subject: "tokenizer.json",
        sentencePiece
          ? "there is only a tokenizer.model, which is not read" : "the folder has no tokenizer",
        advice: "fetch the model's tokenizer.json, or give token ids instead of text")
    }
    beginningID = named("bos_token", in: settings)
    endID = named("eos_token", in: settings)
  }

  /// Reads a tokenizer.json. What begins and ends a document is only known from its template.
  package init(json path: String) throws(RegateError) {
    self = try TokenizerJSON(path: path).tokenizer()
  }

  /// Reads the vocabulary of a GGUF model.
  package init(_ checkpoint: GGUFCheckpoint) throws(RegateError) {
    self = try GGUFVocabulary(checkpoint.metadata, path: checkpoint.path).tokenizer()
  }

  /// The id of a token that tokenizer_config.json names, as text or as an added token.
  private func named(_ key: String, in settings: JSONValue?) -> Int? {
    guard let value = settings?[key],
      let text = value.stringValue ?? value["content"]?.stringValue
    else { return nil }
    return id(of: text)
  }

  /// The id of the token that is exactly `text`, if it is an added token or in the vocabulary.
  package func id(of text: String) -> Int? {
    let bytes = Array(text.utf8)
    return added.id(of: bytes) ?? addedAfterNormalization.id(of: bytes)
      ?? model.tokens.id(of: bytes).map { Int($0) }
  }
}
