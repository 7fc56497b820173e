// SPDX-License-Identifier: Apache-2.0
//
// How files become sequences: documents are cut and never joined, arrays are taken row by row.

import Architectures
import ByteStorage
import Checkpoints
import Inference
import OrderedCollections
import TextTokens

extension TokenSet {
  private static let textSuffixes = [".txt", ".jsonl", ".json", ".gz", ".md"]
  private static let idNames = ["token_ids", "input_ids"]

  package static func isText(_ path: String) -> Bool {
    textSuffixes.contains { path.lowercased().hasSuffix($0) }
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
    let isFile = document.line == nil && document.text.last == UInt8(ascii: "\n")
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

  /// The rows of `token_ids` or `input_ids`, or of the only array, all below `vocabulary`; negative
  /// ids are padding.
  static func ids(
    of container: ArrayContainer, below vocabulary: Int
  ) throws(RegateError) -> [[Int]] {
    let array: NumericArray
    if let named = idNames.lazy.compactMap({ container.arrays[$0] }).first {
      array = named
    } else if container.arrays.count == 1, let only = container.arrays.values.first {
      array = only
    } else {
      throw RegateError(
        .missing, file: container.path, subject: idNames[0],
        "no such array, and no layers.N.router_input either",
        advice: "give token ids [S,L], a capture, or text")
    }
    guard (1...2).contains(array.shape.count) else {
      throw RegateError(
        .mismatch, file: container.path, subject: array.name,
        "has shape \(array.shape), expected [sequences, tokens] or [tokens]")
    }
    let values = try array.integers()
    if let id = values.first(where: { $0 >= vocabulary }) {
      throw RegateError(
        .mismatch, file: container.path, subject: array.name,
        "token id \(id) is out of range, the vocabulary has \(vocabulary) tokens",
        advice: "make the ids with the model's own tokenizer")
    }
    let length = array.shape.last ?? 0
    guard length > 0 else { return [] }
    return stride(from: 0, to: values.count, by: length).map {
      values[$0..<$0 + length].filter { $0 >= 0 }
    }
  }
}
