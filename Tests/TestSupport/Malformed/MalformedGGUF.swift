// SPDX-License-Identifier: Apache-2.0

/// One GGUF model for a test: how to make it, and what opening it must say.
public struct GGUFCase: Sendable, CustomStringConvertible {
  /// What is special about the file.
  public let name: String
  /// Part of the error's text; nil where the file is sound.
  public let message: String?
  /// Writes the files and returns the path to open.
  public let build: @Sendable (TemporaryDirectory) throws -> String

  /// The name, for test reports.
  public var description: String { name }

  /// A case of one file.
  init(_ name: String, _ message: String?, _ bytes: @escaping @Sendable () -> [UInt8]) {
    self.name = name
    self.message = message
    build = { try $0.write(bytes(), to: "model.gguf") }
  }

  /// A case of several files, of which the first is opened.
  init(
    split name: String, _ message: String?,
    files: @escaping @Sendable () -> [(name: String, bytes: [UInt8])]
  ) {
    self.name = name
    self.message = message
    build = { directory in
      let files = files()
      for file in files { try directory.write(file.bytes, to: file.name) }
      return directory.path(files[0].name)
    }
  }

  /// Files that must open, at least one for each layer of the format.
  public static let sound = soundPreambles + soundKeys + soundTensors + soundSplits

  /// Files that must be refused, each for its own reason.
  public static let malformed = badPreambles + badKeys + badTensors + badData + badSplits
}

private typealias Draft = GGUFDraft

/// A draft with the given tensor entries and data.
private func draft(_ tensors: [[UInt8]], data: Int) -> Draft {
  var draft = Draft()
  draft.tensors = tensors
  draft.dataBytes = data
  return draft
}

/// A file with one extra key.
private func keyed(_ key: String, _ type: UInt32, _ value: [UInt8]) -> [UInt8] {
  Draft(keys: [Draft.pair(key, type, value)]).bytes
}

/// A file with one tensor entry and 4 KiB of data.
private func holding(_ tensors: [UInt8]...) -> [UInt8] { draft(tensors, data: 4096).bytes }

// MARK: Preamble

extension GGUFCase {
  private static let soundPreambles = [
    GGUFCase("version 3", nil) { Draft().bytes },
    GGUFCase("version 2", nil) {
      var draft = Draft()
      draft.version = 2
      return draft.bytes
    },
    GGUFCase("no tensors and no padding", nil) { Draft().header },
  ]

  private static func version(_ version: UInt32) -> [UInt8] {
    var draft = Draft()
    draft.version = version
    return draft.bytes
  }

  private static let badPreambles = [
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
    GGUFCase("no counts", "tensor count: needs 8 bytes") { Array(Draft().header.prefix(8)) },
    GGUFCase("tensor count too large", "tensor count: is 1000000, more than") {
      var draft = Draft()
      draft.tensorCount = 1_000_000
      return draft.bytes
    },
    GGUFCase("tensor count negative", "tensor count: is 18446744073709551615") {
      var draft = Draft()
      draft.tensorCount = .max
      return draft.bytes
    },
    GGUFCase("key count too large", "key count: is 9223372036854775808") {
      var draft = Draft()
      draft.keyCount = 1 << 63
      return draft.bytes
    },
    GGUFCase("one key too few", "key 1") {
      var draft = Draft()
      draft.keyCount = 2
      return draft.header + [UInt8](repeating: 0xFF, count: 64)
    },
  ]
}

// MARK: Keys and values

extension GGUFCase {
  private static let soundKeys = [
    GGUFCase("a key of every type", nil) {
      let widths = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8]
      let pairs = widths.enumerated().filter { $0.element > 0 }.map { type, width in
        Draft.pair("key.\(type)", UInt32(type), [1] + [UInt8](repeating: 0, count: width - 1))
      }
      return Draft(keys: pairs).bytes
    },
    GGUFCase("empty arrays of every type", nil) {
      Draft(keys: (0..<13).map { Draft.pair("key.\($0)", 9, Draft.array(UInt32($0), 0, [])) })
        .bytes
    },
    GGUFCase("array of arrays", nil) {
      keyed("nested", 9, Draft.array(9, 2, Draft.array(0, 1, [7]) + Draft.array(7, 2, [0, 1])))
    },
    GGUFCase("string that is not UTF-8", nil) {
      keyed("path", 8, Draft.number(UInt64(2)) + [0xFF, 0xFE])
    },
    GGUFCase("alignment of 1", nil) {
      keyed("general.alignment", 4, Draft.number(UInt32(1)))
    },
  ]

  private static let badKeys = [
    GGUFCase("no architecture", "general.architecture: the file does not name") {
      var draft = Draft()
      draft.keys = []
      return draft.bytes
    },
    GGUFCase("architecture is a number", "general.architecture: must be a string") {
      var draft = Draft()
      draft.keys = [Draft.pair("general.architecture", 4, Draft.number(UInt32(1)))]
      return draft.bytes
    },
    GGUFCase("imatrix as a model", "is an importance matrix, not a model") {
      keyed("general.type", 8, Draft.string("imatrix"))
    },
    GGUFCase("empty key", "key 1: the key is empty") { keyed("", 7, [1]) },
    GGUFCase("key twice", "general.architecture: the key occurs twice") {
      keyed("general.architecture", 8, Draft.string("gemma"))
    },
    GGUFCase("key not UTF-8", "key 1: the name is not valid UTF-8") {
      Draft(keys: [Draft.number(UInt64(2)) + [0xC3, 0x28] + Draft.number(UInt32(7)) + [1]]).bytes
    },
    GGUFCase("key of 65536 bytes", "the name has 65536 bytes") {
      keyed(String(repeating: "k", count: 65_536), 7, [1])
    },
    GGUFCase("key length beyond the file", "key 1: has a string of 500 bytes, but only") {
      Draft(keys: [Draft.string("k", length: 500)]).bytes + [UInt8](repeating: 0, count: 32)
    },
    GGUFCase("key length beyond ggml's cap", "key 1: has a string of 1073741825 bytes; ggml") {
      Draft(keys: [Draft.string("k", length: 1 << 30 + 1)]).bytes
        + [UInt8](repeating: 0, count: 32)
    },
    GGUFCase("key length wraps", "key 1: has a string of 18446744073709551615 bytes") {
      Draft(keys: [Draft.string("k", length: .max)]).bytes + [UInt8](repeating: 0, count: 32)
    },
    GGUFCase("unknown value type", "odd: has value type 13") { keyed("odd", 13, [0]) },
    GGUFCase("value missing", "late: needs 8 bytes") {
      Draft(keys: [Draft.pair("late", 10, [1, 2, 3])]).header
    },
    GGUFCase("bool of 2", "flag: a bool is stored as 2") { keyed("flag", 7, [2]) },
    GGUFCase("bool of 255 in an array", "flags: a bool is stored as 255") {
      keyed("flags", 9, Draft.array(7, 3, [0, 1, 255]))
    },
    GGUFCase("string length beyond the file", "text: has a string of 4096 bytes, but only") {
      keyed("text", 8, Draft.string("short", length: 4096))
    },
    GGUFCase("array count beyond ggml's cap", "list: is an array of 1073741825 elements; ggml") {
      keyed("list", 9, Draft.array(0, 1 << 30 + 1, []))
    },
    GGUFCase("array count beyond the file", "list: is an array of 100000 elements, more than") {
      keyed("list", 9, Draft.array(5, 100_000, []))
    },
    GGUFCase("string array count beyond the file", "list: is an array of 1000 elements") {
      keyed("list", 9, Draft.array(8, 1000, Draft.string("a")))
    },
    GGUFCase("string in an array beyond the file", "list: has a string of 9999 bytes") {
      keyed("list", 9, Draft.array(8, 2, Draft.string("a") + Draft.string("b", length: 9999)))
    },
    GGUFCase("array of unknown type", "list: has value type 77") {
      keyed("list", 9, Draft.array(77, 1, [0]))
    },
    GGUFCase("arrays nested too deep", "deep: nests arrays more than 8 deep") {
      let core = Draft.array(0, 1, [1])
      return keyed("deep", 9, (0..<8).reduce(core) { inner, _ in Draft.array(9, 1, inner) })
    },
    GGUFCase("alignment of wrong type", "general.alignment: has type u64, must be u32") {
      keyed("general.alignment", 10, Draft.number(UInt64(32)))
    },
    GGUFCase("alignment of 0", "general.alignment: is 0, must be a power of two") {
      keyed("general.alignment", 4, Draft.number(UInt32(0)))
    },
    GGUFCase("alignment of 2 GiB", "general.alignment: is 2147483648; at most 1048576") {
      keyed("general.alignment", 4, Draft.number(UInt32(1) << 31))
    },
    GGUFCase("alignment of 48", "general.alignment: is 48, must be a power of two") {
      keyed("general.alignment", 4, Draft.number(UInt32(48)))
    },
  ]
}

// MARK: Tensor entries

extension GGUFCase {
  private static let soundTensors = [
    GGUFCase("two tensors", nil) {
      holding(Draft.tensor("a", [5]), Draft.tensor("b", [3, 2], offset: 32))
    },
    GGUFCase("tensor without dimensions", nil) { holding(Draft.tensor("scalar", [])) },
    GGUFCase("tensors without elements", nil) {
      holding(Draft.tensor("a", [0, 1 << 40, 1 << 20]), Draft.tensor("b", [1 << 20, 0]))
    },
    GGUFCase("name of 63 bytes", nil) {
      holding(Draft.tensor(String(repeating: "n", count: 63), [4]))
    },
    GGUFCase("last tensor without padding", nil) {
      draft([Draft.tensor("a", [5])], data: 20).bytes
    },
  ]

  private static let badTensors = [
    GGUFCase("tensor name empty", "a tensor name is empty") { holding(Draft.tensor("", [4])) },
    GGUFCase("tensor name with a zero byte", "contains a zero byte") {
      holding(Draft.tensor("a\0b", [4]))
    },
    GGUFCase("tensor name of 64 bytes", "the name has 64 bytes; at most 63") {
      holding(Draft.tensor(String(repeating: "n", count: 64), [4]))
    },
    GGUFCase("tensor name not UTF-8", "tensor 0: the name is not valid UTF-8") {
      holding(
        Draft.number(UInt64(1)) + [0x80] + Draft.number(UInt32(0)) + Draft.number(UInt32(0))
          + Draft.number(UInt64(0)))
    },
    GGUFCase("tensor name twice", "a: the tensor name occurs twice") {
      holding(Draft.tensor("a", [8]), Draft.tensor("a", [8], offset: 32))
    },
    GGUFCase("five dimensions", "a: has 5 dimensions") {
      holding(Draft.tensor("a", [2, 2, 2, 2, 2]))
    },
    GGUFCase("negative dimension", "a: has a dimension of -1 elements") {
      holding(Draft.tensor("a", [4, -1]))
    },
    GGUFCase("element count overflows", "has more bytes than a file can have") {
      holding(Draft.tensor("a", [1 << 32, 1 << 32]))
    },
    GGUFCase("element count overflows beside a zero", "has more bytes than a file can have") {
      holding(Draft.tensor("a", [1 << 32, 1 << 32, 0]))
    },
    GGUFCase("byte count overflows", "has more bytes than a file can have") {
      holding(Draft.tensor("a", [1 << 60, 4]))
    },
    GGUFCase("removed type 4", "a: has ggml type 4 (Q4_2), which ggml has removed") {
      holding(Draft.tensor("a", [32], type: 4))
    },
    GGUFCase("removed type 33", "a: has ggml type 33 (Q4_0_8_8), which ggml has removed") {
      holding(Draft.tensor("a", [32], type: 33))
    },
    GGUFCase("removed type 36", "a: has ggml type 36 (IQ4_NL_4_4), which ggml has removed") {
      holding(Draft.tensor("a", [32], type: 36))
    },
    GGUFCase("unknown type", "a: has ggml type 43, which ggml 0.25 does not know") {
      holding(Draft.tensor("a", [32], type: 43))
    },
    GGUFCase("row of half a block", "a: rows of 48 elements do not fill whole Q8_0 blocks of 32") {
      holding(Draft.tensor("a", [48, 2], type: 8))
    },
    GGUFCase("quantised scalar", "a: rows of 1 elements do not fill whole Q4_K blocks") {
      holding(Draft.tensor("a", [], type: 12))
    },
    GGUFCase("entry cut short", "b: needs 8 bytes") {
      let entries = [Draft.tensor("a", [4]), Draft.tensor("b", [4], offset: 32).dropLast(1)]
      return draft(entries.map { Array($0) }, data: 0).header
    },
  ]
}

// MARK: Data section

extension GGUFCase {
  private static let badData = [
    GGUFCase("offset not aligned", "b: data offset 20 is not a multiple of the alignment, 32") {
      holding(Draft.tensor("a", [5]), Draft.tensor("b", [4], offset: 20))
    },
    GGUFCase("first offset not zero", "a: data offset is 32, expected 0") {
      holding(Draft.tensor("a", [4], offset: 32))
    },
    GGUFCase("gap between tensors", "b: data offset is 64, expected 32") {
      holding(Draft.tensor("a", [5]), Draft.tensor("b", [4], offset: 64))
    },
    GGUFCase("tensors share data", "b: data offset is 0, expected 32") {
      holding(Draft.tensor("a", [5]), Draft.tensor("b", [4]))
    },
    GGUFCase("tensors out of order", "a: data offset is 32, expected 0") {
      holding(Draft.tensor("a", [8], offset: 32), Draft.tensor("b", [8]))
    },
    GGUFCase("offset wraps", "b: data offset is 18446744073709551584, expected 32") {
      holding(Draft.tensor("a", [8]), Draft.tensor("b", [8], offset: UInt64.max - 31))
    },
    GGUFCase("data one byte short", "20 bytes of data at offset 0 end beyond the file") {
      draft([Draft.tensor("a", [5])], data: 19).bytes
    },
    GGUFCase("no data", "16 bytes of data at offset 0 end beyond the file") {
      draft([Draft.tensor("a", [4])], data: 0).header
    },
    GGUFCase("second tensor beyond the file", "b: 4000 bytes of data at offset 32 end beyond") {
      draft([Draft.tensor("a", [4]), Draft.tensor("b", [1000], offset: 32)], data: 64).bytes
    },
    GGUFCase("offsets for another alignment", "b: data offset is 64, expected 32") {
      holding(Draft.tensor("a", [8]), Draft.tensor("b", [8], offset: 64))
    },
    GGUFCase("largest size", "1152921504606846975 bytes of data at offset 0 end beyond the file") {
      holding(Draft.tensor("a", [1 << 60 - 1], type: 24))
    },
  ]
}

// MARK: Split files

extension GGUFCase {
  /// One part of a split model with a single tensor, with keys to leave out or replace.
  private static func part(
    _ number: UInt16, of count: UInt16 = 2, total: Int32 = 2, tensor: String = "",
    dropping dropped: String = ""
  ) -> [UInt8] {
    let keys = [
      ("split.no", Draft.pair("split.no", 2, Draft.number(number))),
      ("split.count", Draft.pair("split.count", 2, Draft.number(count))),
      ("split.tensors.count", Draft.pair("split.tensors.count", 5, Draft.number(total))),
    ]
    var draft = Draft(keys: keys.filter { $0.0 != dropped }.map(\.1))
    if number > 0 { draft.keys.removeFirst() }
    draft.tensors = [Draft.tensor(tensor.isEmpty ? "tensor.\(number)" : tensor, [8])]
    draft.dataBytes = 32
    return draft.bytes
  }

  private static let first = "model-00001-of-00002.gguf"
  private static let second = "model-00002-of-00002.gguf"

  private static let soundSplits = [
    GGUFCase(split: "two parts, opened by the first", nil) {
      [(first, part(0)), (second, part(1))]
    },
    GGUFCase(split: "two parts, opened by the second", nil) {
      [(second, part(1)), (first, part(0))]
    },
    GGUFCase(split: "split count of 1", nil) { [("whole.gguf", part(0, of: 1, total: 1))] },
  ]

  private static let badSplits = [
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
      keyed("split.count", 8, Draft.string("2"))
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
