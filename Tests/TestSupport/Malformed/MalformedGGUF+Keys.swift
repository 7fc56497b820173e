// SPDX-License-Identifier: Apache-2.0
//
// What stands before the tensors: magic, version, counts, keys and values.

// MARK: Preamble

extension GGUFCase {
  static let soundPreambles = [
    GGUFCase("version 3", nil) { GGUFDraft().bytes },
    GGUFCase("version 2", nil) {
      var draft = GGUFDraft()
      draft.version = 2
      return draft.bytes
    },
    GGUFCase("no tensors and no padding", nil) { GGUFDraft().header },
  ]

  private static func version(_ version: UInt32) -> [UInt8] {
    var draft = GGUFDraft()
    draft.version = version
    return draft.bytes
  }

  static let badPreambles = [
    GGUFCase("empty file", "has 0 bytes, too few") { [] },
    GGUFCase("three bytes", "has 3 bytes, too few") { Array("GGU".utf8) },
    GGUFCase("other magic", "expected 47 47 55 46") { Array("PK\u{3}\u{4} and more".utf8) },
    GGUFCase("ggml magic", "from before GGUF") { Array("tjgg".utf8) + [3, 0, 0, 0] },
    GGUFCase("LFS pointer", "Git LFS pointer") {
      Array("version https://git-lfs.github.com/spec/v1\n".utf8)
    },
    GGUFCase("magic only", "GGUF version: needs 4 bytes") { Array("GGUF".utf8) },
    GGUFCase("version 0", "is GGUF version 0") { version(0) },
    GGUFCase("version 1", "is GGUF version 1, which no current program reads") { version(1) },
    GGUFCase("version 4", "is GGUF version 4") { version(4) },
    GGUFCase("big-endian", "is a big-endian GGUF file") { version(UInt32(3).byteSwapped) },
    GGUFCase("no counts", "tensor count: needs 8 bytes") { Array(GGUFDraft().header.prefix(8)) },
    GGUFCase("tensor count too large", "tensor count: is 1000000, more than") {
      var draft = GGUFDraft()
      draft.tensorCount = 1_000_000
      return draft.bytes
    },
    GGUFCase("tensor count negative", "tensor count: is 18446744073709551615") {
      var draft = GGUFDraft()
      draft.tensorCount = .max
      return draft.bytes
    },
    GGUFCase("key count too large", "key count: is 9223372036854775808") {
      var draft = GGUFDraft()
      draft.keyCount = 1 << 63
      return draft.bytes
    },
    GGUFCase("one key too few", "key 1") {
      var draft = GGUFDraft()
      draft.keyCount = 2
      return draft.header + [UInt8](repeating: 0xFF, count: 64)
    },
  ]
}

// MARK: Keys and values

extension GGUFCase {
  static let soundKeys = [
    GGUFCase("a key of every type", nil) {
      let widths = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
      let pairs = widths.enumerated().filter { $0.element > 0 }.map { type, width in
        GGUFDraft.pair("key.\(type)", UInt32(type), [1] + [UInt8](repeating: 0, count: width - 1))
      }
      return GGUFDraft(keys: pairs).bytes
    },
    GGUFCase("empty arrays of every type", nil) {
      GGUFDraft(
        keys: (0..<13).map { GGUFDraft.pair("key.\($0)", 9, GGUFDraft.array(UInt32($0), 0, [])) }
      )
      .bytes
    },
    GGUFCase("array of arrays", nil) {
      GGUFDraft.keyed(
        "nested", 9,
        GGUFDraft.array(9, 2, GGUFDraft.array(0, 1, [7]) + GGUFDraft.array(7, 2, [0, 1])))
    },
    GGUFCase("string that is not UTF-8", nil) {
      GGUFDraft.keyed("path", 8, GGUFDraft.number(UInt64(2)) + [0xFF, 0xFE])
    },
    GGUFCase("alignment of 1", nil) {
      GGUFDraft.keyed("general.alignment", 4, GGUFDraft.number(UInt32(1)))
    },
  ]

  static let badKeys = [
    GGUFCase("no architecture", "general.architecture: the file does not name") {
      var draft = GGUFDraft()
      draft.keys = []
      return draft.bytes
    },
    GGUFCase("architecture is a number", "general.architecture: must be a string") {
      var draft = GGUFDraft()
      draft.keys = [GGUFDraft.pair("general.architecture", 4, GGUFDraft.number(UInt32(1)))]
      return draft.bytes
    },
    GGUFCase("imatrix as a model", "is an importance matrix, not a model") {
      GGUFDraft.keyed("general.type", 8, GGUFDraft.string("imatrix"))
    },
    GGUFCase("empty key", "key 1: the key is empty") { GGUFDraft.keyed("", 7, [1]) },
    GGUFCase("key twice", "general.architecture: the key occurs twice") {
      GGUFDraft.keyed("general.architecture", 8, GGUFDraft.string("gemma"))
    },
    GGUFCase("key not UTF-8", "key 1: the name is not valid UTF-8") {
      GGUFDraft(keys: [
        GGUFDraft.number(UInt64(2)) + [0xC3, 0x28] + GGUFDraft.number(UInt32(7)) + [1]
      ]).bytes
    },
    GGUFCase("key of 65536 bytes", "the name has 65536 bytes") {
      GGUFDraft.keyed(String(repeating: "k", count: 65_536), 7, [1])
    },
    GGUFCase("key length beyond the file", "key 1: has a string of 500 bytes, but only") {
      GGUFDraft(keys: [GGUFDraft.string("k", length: 500)]).bytes + [UInt8](repeating: 0, count: 32)
    },
    GGUFCase("key length beyond ggml's cap", "key 1: has a string of 1073741825 bytes; ggml") {
      GGUFDraft(keys: [GGUFDraft.string("k", length: 1 << 30 + 1)]).bytes
        + [UInt8](repeating: 0, count: 32)
    },
    GGUFCase("key length wraps", "key 1: has a string of 18446744073709551615 bytes") {
      GGUFDraft(keys: [GGUFDraft.string("k", length: .max)]).bytes
        + [UInt8](repeating: 0, count: 32)
    },
    GGUFCase("unknown value type", "odd: has value type 13") { GGUFDraft.keyed("odd", 13, [0]) },
    GGUFCase("value missing", "late: needs 8 bytes") {
      GGUFDraft(keys: [GGUFDraft.pair("late", 10, [1, 2, 3])]).header
    },
    GGUFCase("bool of 2", "flag: a bool is stored as 2") { GGUFDraft.keyed("flag", 7, [2]) },
    GGUFCase("bool of 255 in an array", "flags: a bool is stored as 255") {
      GGUFDraft.keyed("flags", 9, GGUFDraft.array(7, 3, [0, 1, 255]))
    },
    GGUFCase("string length beyond the file", "text: has a string of 4096 bytes, but only") {
      GGUFDraft.keyed("text", 8, GGUFDraft.string("short", length: 4096))
    },
    GGUFCase("array count beyond ggml's cap", "list: is an array of 1073741825 elements; ggml") {
      GGUFDraft.keyed("list", 9, GGUFDraft.array(0, 1 << 30 + 1, []))
    },
    GGUFCase("array count beyond the file", "list: is an array of 100000 elements, more than") {
      GGUFDraft.keyed("list", 9, GGUFDraft.array(5, 100_000, []))
    },
    GGUFCase("string array count beyond the file", "list: is an array of 1000 elements") {
      GGUFDraft.keyed("list", 9, GGUFDraft.array(8, 1000, GGUFDraft.string("a")))
    },
    GGUFCase("string in an array beyond the file", "list: has a string of 9999 bytes") {
      GGUFDraft.keyed(
        "list", 9,
        GGUFDraft.array(8, 2, GGUFDraft.string("a") + GGUFDraft.string("b", length: 9999)))
    },
    GGUFCase("array of unknown type", "list: has value type 77") {
      GGUFDraft.keyed("list", 9, GGUFDraft.array(77, 1, [0]))
    },
    GGUFCase("arrays nested too deep", "deep: nests arrays more than 8 deep") {
      let core = GGUFDraft.array(0, 1, [1])
      return GGUFDraft.keyed(
        "deep", 9, (0..<8).reduce(core) { inner, _ in GGUFDraft.array(9, 1, inner) })
    },
    GGUFCase("alignment of wrong type", "general.alignment: has type u64, must be u32") {
      GGUFDraft.keyed("general.alignment", 10, GGUFDraft.number(UInt64(32)))
    },
    GGUFCase("alignment of 0", "general.alignment: is 0, must be a power of two") {
      GGUFDraft.keyed("general.alignment", 4, GGUFDraft.number(UInt32(0)))
    },
    GGUFCase("alignment of 2 GiB", "general.alignment: is 2147483648; at most 1048576") {
      GGUFDraft.keyed("general.alignment", 4, GGUFDraft.number(UInt32(1) << 31))
    },
    GGUFCase("alignment of 48", "general.alignment: is 48, must be a power of two") {
      GGUFDraft.keyed("general.alignment", 4, GGUFDraft.number(UInt32(48)))
    },
  ]
}
