// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Checkpoints
import Crypto
import Inference
import OrderedCollections
import Resuming
import Tensors

/// What `calibration` of a request names: captured activations, or tokens that Regate runs the
/// model on.
package enum Calibration: Sendable {
  case captures(Captures)
  case tokens(TokenSet)

  /// Opens `paths`, all of one kind. `progress` can stop it between documents of text, and hears
  /// what was left out or mended.
  package init(
    _ paths: [String], for model: Model, options: TokenOptions, checkingGates: Bool = true,
    progress: any ProgressSink
  ) throws(RegateError) {
    var captures: [Captures.Given] = []
    var texts: [String] = []
    var arrays: [ArrayContainer] = []
    for path in paths {
      guard ArrayContainer.isNamed(path) else {
        texts.append(path)
        continue
      }
      for container in try ArrayContainer.openEach(path) {
        if Self.isCapture(container) {
          captures.append((path, container))
        } else {
          arrays.append(container)
        }
      }
    }
    guard !captures.isEmpty else {
      guard !paths.isEmpty else {
        throw RegateError(
          .missing, subject: "`calibration`", "nothing was given",
          advice: "give text, token ids, or a capture of `CaptureRun`")
      }
      let set = try TokenSet(
        texts: texts, arrays: arrays, for: model, options: options, progress: progress)
      for note in set.notes { progress.warn(note) }
      self = .tokens(set)
      return
    }
    guard texts.isEmpty, arrays.isEmpty else {
      throw RegateError(
        .refused, file: captures[0].container.path,
        "captured activations and tokens cannot be mixed",
        advice: "give all calibration sets in one form")
    }
    self = .captures(
      try Captures(
        captures, for: model, checkingGates: checkingGates, progress: progress))
  }

  /// Whether the arrays are activations of layers, complete or not; ids may stand beside them.
  private static func isCapture(_ container: ArrayContainer) -> Bool {
    container.arrays.values.contains { $0.isFloatingPoint && $0.name.hasPrefix("layers.") }
  }

  /// Where a load comes from, in words.
  package var description: String {
    let source =
      switch self {
      case .captures: "captured activations"
      case .tokens(let set): "a run of the model on \(set.sequences.count) sequences"
      }
    guard let precision, precision != ProductPrecision.full.name else { return source }
    return source + " in \(precision)"
  }

  /// What the model is, or was, run in; nil where it is not known.
  package var precision: String? {
    switch self {
    case .captures(let captures): captures.precision
    case .tokens(let set): try? set.runnable.get().products
    }
  }

  /// Whether the model is run on it.
  package var isRun: Bool { if case .tokens = self { true } else { false } }

  /// T.
  package var tokens: Int {
    switch self {
    case .captures(let captures): captures.tokens
    case .tokens(let set): set.tokens
    }
  }
}

extension Calibration {
  /// SHA-256 over the tokens, or over samples of the captures' files.
  package func digest() throws(RegateError) -> String {
    switch self {
    case .tokens(let set): return Self.digest(of: set.sequences)
    case .captures(let captures): return try ContentDigest.of(try captures.files())
    }
  }
  /// SHA-256 over the lengths and ids of `sequences`.
  static func digest(of sequences: [[Int]]) -> String {
    var hash = SHA256()
    for sequence in sequences { ContentDigest.update(&hash, [sequence.count] + sequence) }
    return ContentDigest.text(hash)
  }
}
