// SPDX-License-Identifier: Apache-2.0
//
// Tensor entries, and the data that they lie in.

// MARK: Tensor entries

extension GGUFCase {
  static let soundTensors = [
    GGUFCase("two tensors", nil) {
      GGUFDraft.holding(GGUFDraft.tensor("a", [5]), GGUFDraft.tensor("b", [3, 2], offset: 32))
    },
    GGUFCase("tensor without dimensions", nil) {
      GGUFDraft.holding(GGUFDraft.tensor("scalar", []))
    },
    GGUFCase("tensors without elements", nil) {
      GGUFDraft.holding(
        GGUFDraft.tensor("a", [0, 1 << 40, 1 << 20]), GGUFDraft.tensor("b", [1 << 20, 0]))
    },
    GGUFCase("name of 63 bytes", nil) {
      GGUFDraft.holding(GGUFDraft.tensor(String(repeating: "n", count: 63), [4]))
    },
    GGUFCase("last tensor without padding", nil) {
      GGUFDraft.draft([GGUFDraft.tensor("a", [5])], data: 20).bytes
    },
  ]

  static let badTensors = [
    GGUFCase("tensor name empty", "a tensor name is empty") {
      GGUFDraft.holding(GGUFDraft.tensor("", [4]))
    },
    GGUFCase("tensor name with a zero byte", "contains a zero byte") {
      GGUFDraft.holding(GGUFDraft.tensor("a\0b", [4]))
    },
    GGUFCase("tensor name of 64 bytes", "the name has 64 bytes; at most 63") {
      GGUFDraft.holding(GGUFDraft.tensor(String(repeating: "n", count: 64), [4]))
    },
    GGUFCase("tensor name not UTF-8", "tensor 0: the name is not valid UTF-8") {
      GGUFDraft.holding(
        GGUFDraft.number(UInt64(1)) + [0x80] + GGUFDraft.number(UInt32(0))
          + GGUFDraft.number(UInt32(0))
          + GGUFDraft.number(UInt64(0)))
    },
    GGUFCase("tensor name twice", "a: the tensor name occurs twice") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [8]), GGUFDraft.tensor("a", [8], offset: 32))
    },
    GGUFCase("five dimensions", "a: has 5 dimensions") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [2, 2, 2, 2, 2]))
    },
    GGUFCase("negative dimension", "a: has a dimension of -1 elements") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [4, -1]))
    },
    GGUFCase("element count overflows", "has more bytes than a file can have") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [1 << 32, 1 << 32]))
    },
    GGUFCase("element count overflows beside a zero", "has more bytes than a file can have") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [1 << 32, 1 << 32, 0]))
    },
    GGUFCase("byte count overflows", "has more bytes than a file can have") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [1 << 60, 4]))
    },
    GGUFCase("removed type 4", "a: has ggml type 4 (Q4_2), which ggml has removed") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [32], type: 4))
    },
    GGUFCase("removed type 33", "a: has ggml type 33 (Q4_0_8_8), which ggml has removed") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [32], type: 33))
    },
    GGUFCase("removed type 36", "a: has ggml type 36 (IQ4_NL_4_4), which ggml has removed") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [32], type: 36))
    },
    GGUFCase("unknown type", "a: has ggml type 43, which ggml 0.25 does not know") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [32], type: 43))
    },
    GGUFCase("row of half a block", "a: rows of 48 elements do not fill whole Q8_0 blocks of 32") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [48, 2], type: 8))
    },
    GGUFCase("quantised scalar", "a: rows of 1 elements do not fill whole Q4_K blocks") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [], type: 12))
    },
    GGUFCase("entry cut short", "b: needs 8 bytes") {
      let entries = [
        GGUFDraft.tensor("a", [4]), GGUFDraft.tensor("b", [4], offset: 32).dropLast(1),
      ]
      return GGUFDraft.draft(entries.map { Array($0) }, data: 0).header
    },
  ]
}

// MARK: Data section

extension GGUFCase {
  static let badData = [
    GGUFCase("offset not aligned", "b: data offset 20 is not a multiple of the alignment, 32") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [5]), GGUFDraft.tensor("b", [4], offset: 20))
    },
    GGUFCase("first offset not zero", "a: data offset is 32, expected 0") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [4], offset: 32))
    },
    GGUFCase("gap between tensors", "b: data offset is 64, expected 32") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [5]), GGUFDraft.tensor("b", [4], offset: 64))
    },
    GGUFCase("tensors share data", "b: data offset is 0, expected 32") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [5]), GGUFDraft.tensor("b", [4]))
    },
    GGUFCase("tensors out of order", "a: data offset is 32, expected 0") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [8], offset: 32), GGUFDraft.tensor("b", [8]))
    },
    GGUFCase("offset wraps", "b: data offset is 18446744073709551584, expected 32") {
      GGUFDraft.holding(
        GGUFDraft.tensor("a", [8]), GGUFDraft.tensor("b", [8], offset: UInt64.max - 31))
    },
    GGUFCase("data one byte short", "20 bytes of data at offset 0 end beyond the file") {
      GGUFDraft.draft([GGUFDraft.tensor("a", [5])], data: 19).bytes
    },
    GGUFCase("no data", "16 bytes of data at offset 0 end beyond the file") {
      GGUFDraft.draft([GGUFDraft.tensor("a", [4])], data: 0).header
    },
    GGUFCase("second tensor beyond the file", "b: 4000 bytes of data at offset 32 end beyond") {
      GGUFDraft.draft(
        [GGUFDraft.tensor("a", [4]), GGUFDraft.tensor("b", [1000], offset: 32)], data: 64
      ).bytes
    },
    GGUFCase("offsets for another alignment", "b: data offset is 64, expected 32") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [8]), GGUFDraft.tensor("b", [8], offset: 64))
    },
    GGUFCase("largest size", "1152921504606846975 bytes of data at offset 0 end beyond the file") {
      GGUFDraft.holding(GGUFDraft.tensor("a", [1 << 60 - 1], type: 24))
    },
  ]
}
