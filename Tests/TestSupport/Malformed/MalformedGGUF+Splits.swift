// SPDX-License-Identifier: Apache-2.0
//
// Models in several files.

extension GGUFCase {
  /// One part of a split model with a single tensor, with keys to leave out or replace.
  private static func part(
    _ number: UInt16, of count: UInt16 = 2, total: Int32 = 2, tensor: String = "",
    dropping dropped: String = ""
  ) -> [UInt8] {
    let keys = [
      ("split.no", GGUFDraft.pair("split.no", 2, GGUFDraft.number(number))),
      ("split.count", GGUFDraft.pair("split.count", 2, GGUFDraft.number(count))),
      ("split.tensors.count", GGUFDraft.pair("split.tensors.count", 5, GGUFDraft.number(total))),
    ]
    var draft = GGUFDraft(keys: keys.filter { $0.0 != dropped }.map(\.1))
    if number > 0 { draft.keys.removeFirst() }
    draft.tensors = [GGUFDraft.tensor(tensor.isEmpty ? "tensor.\(number)" : tensor, [8])]
    draft.dataBytes = 32
    return draft.bytes
  }

  private static let first = "model-00001-of-00002.gguf"
  private static let second = "model-00002-of-00002.gguf"

  static let soundSplits = [
    GGUFCase(split: "two parts, opened by the first", nil) {
      [(first, part(0)), (second, part(1))]
    },
    GGUFCase(split: "two parts, opened by the second", nil) {
      [(second, part(1)), (first, part(0))]
    },
    GGUFCase(split: "split count of 1", nil) { [("whole.gguf", part(0, of: 1, total: 1))] },
  ]

  static let badSplits = [
    GGUFCase(split: "part missing", "part 2 of 2 is not there") { [(first, part(0))] },
    GGUFCase(split: "first part missing", "part 1 of 2 is not there") { [(second, part(1))] },
    GGUFCase(split: "part renamed", "its name must end in -00001-of-00002.gguf") {
      [("renamed.gguf", part(0)), (second, part(1))]
    },
    GGUFCase(split: "part misnumbered by its name", "its name must end in -00002-of-00002.gguf") {
      [(first, part(1)), (second, part(1))]
    },
    GGUFCase(split: "part number out of range", "split.no: is 2 of 2 parts") { [(first, part(2))] },
    GGUFCase(split: "part number missing", "split.no: the key is missing") {
      [(first, part(0, dropping: "split.no")), (second, part(1))]
    },
    GGUFCase(split: "tensor total missing", "split.tensors.count: the key is missing") {
      [(first, part(0, dropping: "split.tensors.count")), (second, part(1))]
    },
    GGUFCase("part count is text", "split.count: has type str, must be an integer") {
      GGUFDraft.keyed("split.count", 8, GGUFDraft.string("2"))
    },
    GGUFCase(split: "same part twice", "split.no: is 0, but the file's name") {
      [(first, part(0)), (second, part(0))]
    },
    GGUFCase(split: "parts disagree on their count", "split.count: is 3, but the file's name") {
      [(first, part(0)), (second, part(1, of: 3))]
    },
    GGUFCase(split: "parts disagree on the total", "split.tensors.count: is 5, but") {
      [(first, part(0)), (second, part(1, total: 5))]
    },
    GGUFCase(split: "total is wrong", "split.tensors.count: is 9, but the 2 parts hold 2") {
      [(first, part(0, total: 9)), (second, part(1, total: 9))]
    },
    GGUFCase(split: "tensor in two parts", "same: the tensor is also in") {
      [(first, part(0, tensor: "same")), (second, part(1, tensor: "same"))]
    },
    GGUFCase(split: "second part is not GGUF", "expected 47 47 55 46") {
      [(first, part(0)), (second, Array("not a GGUF file".utf8))]
    },
  ]
}
