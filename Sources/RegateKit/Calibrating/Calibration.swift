// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections

/// What `--calibration` names: captured activations, or tokens that Regate runs the model on.
enum Calibration: Sendable {
  case captures(Captures)
  case tokens(TokenSet)

  /// Opens `paths`, all of one kind.
  init(
    _ paths: [String], for model: Model, options: TokenOptions, checkingGates: Bool = true
  ) throws(RegateError) {
    var captures: [String] = []
    var texts: [String] = []
    var arrays: [ArrayContainer] = []
    for path in paths {
      if TokenSet.isText(path) {
        texts.append(path)
        continue
      }
      let container = try Self.arrays(at: path)
      // Arrays of numbers with a fraction are activations, well named or not.
      if container.arrays.values.contains(where: \.isFloatingPoint) {
        captures.append(path)
      } else {
        arrays.append(container)
      }
    }
    guard !captures.isEmpty else {
      guard !paths.isEmpty else {
        throw RegateError(
          .missing, subject: "--calibration", "nothing was given",
          advice: "give text, token ids, or a capture of tools/capture.py")
      }
      self = .tokens(
        try TokenSet(texts: texts, arrays: arrays, for: model, options: options))
      return
    }
    guard texts.isEmpty, arrays.isEmpty else {
      throw RegateError(
        .refused, file: captures[0], "captured activations and tokens cannot be mixed",
        advice: "give all calibration sets in one form")
    }
    self = .captures(try Captures(captures, for: model, checkingGates: checkingGates))
  }

  /// The arrays of a path that is no text by its name.
  private static func arrays(at path: String) throws(RegateError) -> ArrayContainer {
    do throws(RegateError) {
      return try ArrayContainer.open(path)
    } catch {
      guard error.code == .unsupported, error.subject == nil else { throw error }
      throw RegateError(
        .unsupported, file: path, "is not a file of arrays, nor text by its name",
        advice: "give text (.txt, .jsonl, .gz), token ids or a capture (.npy, .npz, .safetensors)")
    }
  }

  /// T.
  var tokens: Int {
    switch self {
    case .captures(let captures): captures.tokens
    case .tokens(let set): set.tokens
    }
  }
}
