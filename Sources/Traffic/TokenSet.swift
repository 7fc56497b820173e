// SPDX-License-Identifier: Apache-2.0
//
// Sequences of token ids to run the model on: from text, through the model's own tokenizer, or from
// integer arrays [S,L] or [L].

package import Architectures
package import ByteStorage
package import Checkpoints
package import Inference
import TextTokens

package struct TokenSet: Sendable {
  package let sequences: [[Int]]
  /// The model as it is run; where it cannot be run at all, that is said when it is to be.
  package let runnable: Result<InferenceModel, RegateError>
  /// What in the files was left out, mended or not as they say, a sentence for each.
  package let notes: [String]

  package init(
    sequences: [[Int]], runnable: Result<InferenceModel, RegateError>, notes: [String] = []
  ) {
    self.sequences = sequences
    self.runnable = runnable
    self.notes = notes
  }

  package var tokens: Int { sequences.reduce(0) { $0 + $1.count } }

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
      try InferenceModel(model.checkpoint, layout: model.layout, as: model.precision)
    }
    let vocabulary = (try? runnable.get().vocabularySize) ?? .max
    var notes: [String] = []
    if !texts.isEmpty {
      // What is no text is refused before the tokenizer is asked.
      let opened = try texts.map { (path) throws(RegateError) in
        try TextDocuments(path: path, field: options.field, limit: TokenSet.textLimit(options))
      }
      let tokenizer = try TokenSet.tokenizer(of: model)
      notes += tokenizer.notes
      var encoder = DocumentEncoder(tokenizer)
      for var documents in opened {
        WorkLog.current?.note(.tokenisation)
        while let document = try documents.next() {
          try progress.requireWanted()
          sequences += TokenSet.sequences(document, &encoder, bos: tokenizer.prefix.first, options)
        }
        notes += documents.notes
      }
      if let id = sequences.joined().first(where: { $0 >= vocabulary }) {
        throw RegateError(
          .mismatch, file: model.checkpoint.path, subject: "the tokenizer",
          "gives token \(id), but the embedding has \(vocabulary) rows",
          advice: "put the tokenizer that the model was trained with beside it")
      }
    }
    for container in arrays {
      let ids = try TokenIDs(container, below: vocabulary)
      notes += ids.notes
      sequences += ids.sequences.flatMap {
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
    self.notes = notes
  }
}
