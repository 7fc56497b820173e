// SPDX-License-Identifier: Apache-2.0
//
// How files become sequences: documents are cut and never joined, arrays are taken row by row.

import Architectures
import ByteStorage
import Checkpoints
import Inference
import TextTokens

extension TokenSet {
  /// How much text of a file is read, in bytes: far more than the budget takes, and bounded.
  static func textLimit(_ options: TokenOptions) -> Int {
    let (wanted, overflow) = options.maxTokens.multipliedReportingOverflow(by: 512)
    return overflow ? .max : max(TextDocuments.defaultLimit, wanted)
  }

  /// The sequences of one document.
  static func sequences(
    _ document: TextDocuments.Document, _ encoder: inout DocumentEncoder, bos: Int?,
    _ options: TokenOptions
  ) -> [[Int]] {
    guard options.perplexity == .llama else {
      return cut(encoder.encode(document.text, addSpecial: true), options.length)
    }
    // llama.cpp drops the last line feed of a file, and takes control tokens in it as plain text.
    let isFile = document.number == nil && document.text.last == UInt8(ascii: "\n")
    let ids = encoder.encode(
      isFile ? Array(document.text.dropLast()) : document.text, addSpecial: true, special: false)
    return PerplexityProtocol.llamaWindows(ids, length: options.length, bos: bos)
  }

  static func tokenizer(of model: Model) throws(RegateError) -> Tokenizer {
    switch model.checkpoint.format {
    case .gguf(let checkpoint): try Tokenizer(checkpoint)
    case .safetensors(let checkpoint): try Tokenizer(directory: checkpoint.directory)
    }
  }

  static func cut(_ ids: [Int], _ length: Int) -> [[Int]] {
    stride(from: 0, to: ids.count, by: length).map {
      Array(ids[$0..<min($0 + length, ids.count)])
    }
  }
}
