// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Tensors

// Token ids in arrays: [sequences, tokens] or [tokens], named `token_ids` or `input_ids`, or the
// only array. Places are no tokens where the id is negative, or where `attention_mask` of the same
// shape is 0.

/// The sequences of ids in a file of arrays.
struct TokenIDs {
  private static let names = ["token_ids", "input_ids"]
  private static let maskName = "attention_mask"
  /// Arrays that tokenizers and trainers write beside ids, and what they are.
  private static let others = [
    "attention_mask": "a mask", "labels": "labels", "token_type_ids": "segment numbers",
    "position_ids": "positions", "special_tokens_mask": "a mask", "loss_mask": "a mask",
    "length": "lengths",
  ]

  /// The sequences, all ids below `vocabulary`.
  let sequences: [[Int]]
  /// How many places are no tokens by a negative id, where no mask says so, and how many rows are
  /// too short to be run; a sentence for each that there is.
  let notes: [String]

  init(_ container: ArrayContainer, below vocabulary: Int) throws(RegateError) {
    let array = try TokenIDs.array(in: container)
    let ids = try array.integers()
    let kept = try TokenIDs.mask(of: array, in: container)
    guard kept != nil || !TokenIDs.isMask(ids, among: container) else {
      throw RegateError(
        .mismatch, file: container.path, subject: array.name,
        "holds nothing but 0 and 1, as a mask does, where token ids are needed",
        advice: "name the array of token ids `input_ids`")
    }
    let isToken = { (place: Int) in ids[place] >= 0 && kept?[place] ?? true }
    if let place = ids.indices.first(where: { isToken($0) && ids[$0] >= vocabulary }) {
      throw RegateError(
        .mismatch, file: container.path, subject: array.name,
        "token id \(ids[place]) is out of range, the vocabulary has \(vocabulary) tokens",
        advice: "make the ids with the model's own tokenizer")
    }
    let negative = kept == nil ? ids.count { $0 < 0 } : 0
    let length = array.shape.last ?? 0
    sequences =
      length == 0
      ? []
      : stride(from: 0, to: ids.count, by: length).map { start in
        (start..<start + length).filter(isToken).map { ids[$0] }
      }
    let short = sequences.count { $0.count < 2 }
    let name = "\(container.path): \(array.name)"
    notes = [
      negative == 0
        ? nil
        : "\(name): \(negative) of \(ids.count) ids are negative: they are left out as padding",
      short == 0
        ? nil
        : "\(name): \(short) of \(sequences.count) rows hold fewer than two tokens: they are left out",
    ].compactMap(\.self)
  }

  /// The array of ids, of a shape that ids can have.
  private static func array(in container: ArrayContainer) throws(RegateError) -> NumericArray {
    let array: NumericArray
    if let named = names.lazy.compactMap({ container.arrays[$0] }).first {
      array = named
    } else if container.arrays.count == 1, let only = container.arrays.values.first {
      array = only
    } else {
      throw RegateError(
        .missing, file: container.path, subject: names[0],
        "no such array, and no layers.N.router_input either",
        advice: "give token ids [S,L], a capture, or text")
    }
    if let what = others[array.name] {
      throw RegateError(
        .mismatch, file: container.path, subject: array.name,
        "holds \(what), where token ids are needed",
        advice: "save the token ids beside it as `input_ids`")
    }
    guard !array.isFloatingPoint, array.type != .bool else {
      throw RegateError(
        .mismatch, file: container.path, subject: array.name,
        "holds \(array.type.rawValue) values, where token ids are integers",
        advice: "save token ids as integers [S,L], and activations as layers.N.router_input")
    }
    guard (1...2).contains(array.shape.count) else {
      throw RegateError(
        .mismatch, file: container.path, subject: array.name,
        "has shape \(array.shape), expected [sequences, tokens] or [tokens]",
        advice: "give one sequence of ids in each row")
    }
    return array
  }

  /// Which places hold tokens, by the mask beside `array`; nil where there is none.
  private static func mask(
    of array: NumericArray, in container: ArrayContainer
  ) throws(RegateError) -> [Bool]? {
    guard let mask = container.arrays[maskName] else { return nil }
    guard mask.shape == array.shape else {
      throw RegateError(
        .mismatch, file: container.path, subject: maskName,
        "has shape \(mask.shape), but \(array.name) has \(array.shape)",
        advice: "give a mask with a place for each token")
    }
    let values =
      mask.isFloatingPoint
      ? try mask.floats(rows: 0..<mask.rowCount).map { $0 == 0 ? 0 : $0 == 1 ? 1 : -1 }
      : try mask.integers()
    guard values.allSatisfy({ $0 == 0 || $0 == 1 }) else {
      throw RegateError(
        .mismatch, file: container.path, subject: maskName,
        "holds other values than 0 (no token) and 1 (a token)",
        advice: "give a mask as tokenizers write it, or leave it out")
    }
    return values.map { $0 == 1 }
  }

  /// Whether the only array of a file looks like a mask: long, of zeros and ones alone.
  private static func isMask(_ ids: [Int], among container: ArrayContainer) -> Bool {
    container.arrays.count == 1 && ids.count >= 64 && ids.allSatisfy { $0 == 0 || $0 == 1 }
  }
}
