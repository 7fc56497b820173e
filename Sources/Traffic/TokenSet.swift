// SPDX-License-Identifier: Apache-2.0
//
// Sequences of token ids to run the model on: from text, through the model's own tokenizer, or from
// integer arrays [S,L] or [L]. Documents are cut into sequences and never joined.

package import Architectures
package import ByteStorage
package import Checkpoints
import Foundation
package import Inference
import OrderedCollections
import Tensors
import TextTokens

package struct TokenSet: Sendable {
  package let sequences: [[Int]]
  /// The model as it is run; where it cannot be run at all, that is said when it is to be.
  package let runnable: Result<InferenceModel, RegateError>

  package init(sequences: [[Int]], runnable: Result<InferenceModel, RegateError>) {
    self.sequences = sequences
    self.runnable = runnable
  }

  /// Whole sequences of at most so many tokens, a seeded choice.
  package func limited(to tokens: Int, _ options: TokenOptions) -> TokenSet {
    var options = options
    options.maxTokens = max(2, tokens)
    return TokenSet(sequences: TokenSet.chosen(sequences, options), runnable: runnable)
  }

  package var tokens: Int { sequences.reduce(0) { $0 + $1.count } }

  private static let textSuffixes = [".txt", ".jsonl", ".json", ".gz", ".md"]
  private static let idNames = ["token_ids", "input_ids"]

  package static func isText(_ path: String) -> Bool {
    textSuffixes.contains { path.lowercased().hasSuffix($0) }
  }

  /// Reads texts and arrays of ids, in order, for `model`.
  package init(
    texts: [String], arrays: [ArrayContainer], for model: Model, options: TokenOptions,
    progress: any ProgressSink
  ) throws(RegateError) {
    guard !model.layout.includesMTP else {
      throw RegateError(
        .refused, subject: "`mtp`",
        "layers of multi-token prediction read what a draft is made from, which Regate does not run",
        advice: "give a capture that holds their router inputs, or leave `mtp` out")
    }
    var sequences: [[Int]] = []
    runnable = Result { () throws(RegateError) in
      try InferenceModel(model.checkpoint, layout: model.layout)
    }
    let vocabulary = (try? runnable.get().vocabularySize) ?? .max
    if !texts.isEmpty {
      let tokenizer = try TokenSet.tokenizer(of: model)
      var encoder = DocumentEncoder(tokenizer)
      for path in texts {
        WorkLog.current?.note(.tokenisation)
        var documents = try TextDocuments(path: path, field: options.field)
        while let document = try documents.next() {
          try progress.requireWanted()
          sequences += TokenSet.sequences(document, &encoder, bos: tokenizer.prefix.first, options)
        }
      }
      if let id = sequences.joined().first(where: { $0 >= vocabulary }) {
        throw RegateError(
          .mismatch, file: model.checkpoint.path, subject: "the tokenizer",
          "gives token \(id), but the embedding has \(vocabulary) rows",
          advice: "put the tokenizer that the model was trained with beside it")
      }
    }
    for container in arrays {
      sequences += try TokenSet.ids(of: container, below: vocabulary).flatMap {
        options.perplexity == .llama
          ? PerplexityProtocol.llamaWindows($0, length: options.length, bos: nil)
          : TokenSet.cut($0, options.length)
      }
    }
    // A single token predicts nothing and attends to nothing.
    sequences.removeAll { $0.count < 2 }
    let path = texts.first ?? arrays.first?.path
    guard !sequences.isEmpty || options.perplexity == .llama else {
      throw RegateError(
        .missing, file: path, subject: "`calibration`", "holds no sequence of two tokens or more",
        advice: "give more text")
    }
    // llama-perplexity's own condition.
    guard sequences.count > 1 || options.perplexity == .all else {
      throw RegateError(
        .missing, file: path, subject: "`perplexity` llama",
        "needs two windows of \(options.length) tokens, found \(sequences.count)",
        advice: "give more text, or a shorter `length`")
    }
    self.sequences = TokenSet.chosen(sequences, options)
  }

  /// The sequences of one document.
  private static func sequences(
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

  private static func tokenizer(of model: Model) throws(RegateError) -> Tokenizer {
    switch model.checkpoint.format {
    case .gguf(let checkpoint): try Tokenizer(checkpoint)
    case .safetensors(let checkpoint): try Tokenizer(directory: checkpoint.directory)
    }
  }

  private static func cut(_ ids: [Int], _ length: Int) -> [[Int]] {
    stride(from: 0, to: ids.count, by: length).map {
      Array(ids[$0..<min($0 + length, ids.count)])
    }
  }

  /// The rows of `token_ids` or `input_ids`, or of the only array, all below `vocabulary`; negative
  /// ids are padding.
  private static func ids(
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

  /// Whole sequences up to the budget, in their order; a seeded choice of a larger set.
  private static func chosen(_ sequences: [[Int]], _ options: TokenOptions) -> [[Int]] {
    guard sequences.reduce(0, { $0 + $1.count }) > options.maxTokens else { return sequences }
    if options.perplexity == .llama {
      return Array(sequences.prefix(max(2, options.maxTokens / options.length)))
    }
    var random = SplitMix64(seed: options.seed)
    var order = Array(sequences.indices)
    for index in order.indices.dropLast() {
      order.swapAt(index, index + Int(random.next() % UInt64(order.count - index)))
    }
    var budget = options.maxTokens
    let kept = order.filter { index in
      guard sequences[index].count <= budget else { return false }
      budget -= sequences[index].count
      return true
    }
    return kept.isEmpty
      ? [Array(sequences[0].prefix(max(2, options.maxTokens)))]
      : kept.sorted().map { sequences[$0] }
  }
}
