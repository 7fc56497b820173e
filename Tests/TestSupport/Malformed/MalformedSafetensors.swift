// SPDX-License-Identifier: Apache-2.0

extension MalformedCase {
  /// Files that break one rule of the safetensors format each. Each directory holds the one file
  /// `model.safetensors`.
  public static let safetensors: [MalformedCase] = lengths + texts + entries + sizes + layouts

  private static func file(_ name: String, says fragment: String, _ bytes: [UInt8]) -> MalformedCase
  {
    MalformedCase(name, says: fragment) { try $0.write(bytes, to: "model.safetensors") }
  }

  private static func header(
    _ name: String, says fragment: String, _ text: String, data: Int = 0
  ) -> MalformedCase {
    file(name, says: fragment, safetensorsBytes(text, data: data))
  }

  private static let lengths = [
    file("empty file", says: "header length: needs 8 bytes at offset 0, but only 0 remain", []),
    file(
      "seven bytes", says: "header length: needs 8 bytes at offset 0, but only 7 remain",
      [2, 0, 0, 0, 0, 0, 0]),
    file(
      "header longer than the file", says: "header: needs 100 bytes at offset 8, but only 2 remain",
      safetensorsBytes("{}", length: 100)),
    file(
      "header longer than 100 MB", says: "announces a header of 100000001 bytes",
      safetensorsBytes("{}", length: 100_000_001)),
    file(
      "header length with all bits set", says: "announces a header of 18446744073709551615 bytes",
      safetensorsBytes("{}", length: .max)),
    header("header of no bytes", says: "the header is empty", ""),
    header("header after a space", says: "must begin with '{', not with byte 32", " {}"),
    header("header that is an array", says: "must begin with '{', not with byte 91", "[]"),
    file(
      "Git LFS pointer", says: "is a Git LFS pointer",
      Array("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".utf8)),
  ]

  private static let texts = [
    file(
      "name that is not UTF-8", says: "byte 11: is not valid UTF-8",
      littleEndian(UInt64(7)) + Array("{\"a".utf8) + [0xFF] + Array("\":1".utf8)),
    file(
      "surrogate in UTF-8", says: "byte 10: is not valid UTF-8",
      littleEndian(UInt64(5)) + Array("{\"".utf8) + [0xED, 0xA0, 0x80]),
    header("JSON that ends too early", says: "ends where a key in quotes is expected", "{"),
    header("JSON that ends inside a name", says: "ends inside a string", "{\"a"),
    header("text after the JSON", says: "has 'x' where the end of the JSON text", "{} x"),
    header(
      "zero byte as padding", says: "has byte 0x0 where the end of the JSON text", "{}\u{0}"),
    header(
      "comma at the end", says: "has '}' where a key in quotes is expected",
      "{" + entryText("a", 0, 4) + ",}", data: 4),
    header("name without quotes", says: "has 'a' where a key in quotes is expected", "{a:1}"),
    header("no colon", says: "has ',' where ':' after a key is expected", "{\"a\",1}"),
    header("half a surrogate pair", says: "half of a surrogate pair", #"{"\ud800":1}"#),
    header("unknown escape", says: "has an unknown escape", #"{"\x41":1}"#),
    header("short escape", says: "without four hexadecimal digits", #"{"\u12":1}"#),
    header("line feed in a name", says: "has a control character inside a string", "{\"a\n\":1}"),
    header(
      "tensor twice", says: #"duplicate key "a""#,
      "{" + entryText("a", 0, 4) + "," + entryText("a", 4, 8) + "}", data: 8),
    header(
      "tensor twice behind an escape", says: #"duplicate key "bc""#,
      "{" + entryText("bc", 0, 4) + "," + entryText(#"b\u0063"#, 4, 8) + "}", data: 8),
    header(
      "metadata twice", says: #"duplicate key "__metadata__""#,
      #"{"__metadata__":{},"__metadata__":{}}"#),
    header(
      "metadata key twice", says: #"duplicate key "format""#,
      #"{"__metadata__":{"format":"pt","format":"np"}}"#),
    header(
      "metadata that is a number", says: #"value of "step" must be a string, not number"#,
      #"{"__metadata__":{"step":1}}"#),
    header(
      "metadata that is nested", says: #"value of "nested" must be a string, not object"#,
      #"{"__metadata__":{"nested":{}}}"#),
    header(
      "metadata in an array", says: "__metadata__ must be an object", #"{"__metadata__":["pt"]}"#),
  ]

  private static let entries = [
    header("entry that is a number", says: "its header entry is not an object", #"{"a":4}"#),
    header(
      "no dtype", says: "its header entry has no dtype",
      #"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, data: 4),
    header(
      "no shape", says: "its header entry has no shape",
      #"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, data: 4),
    header(
      "no offsets", says: "its header entry has no data_offsets",
      #"{"a":{"dtype":"F32","shape":[1]}}"#, data: 4),
    header(
      "unknown key in an entry", says: #"has the unknown key "stride""#,
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"stride":[1]}}"#, data: 4),
    header(
      "dtype twice", says: #"duplicate key "dtype""#,
      #"{"a":{"dtype":"F32","dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#, data: 4),
    header(
      "dtype that is a number", says: "has '3' where a string is expected",
      #"{"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}}"#, data: 4),
    header(
      "unknown dtype", says: #"unknown dtype "F12""#,
      "{" + entryText("a", "F12", 0, 4) + "}", data: 4),
    header(
      "dtype in lower case", says: #"unknown dtype "f32""#,
      "{" + entryText("a", "f32", 0, 4) + "}", data: 4),
    header(
      "dtype of GGUF", says: #"unknown dtype "Q8_0""#,
      "{" + entryText("a", "Q8_0", shape: "[32]", 0, 34) + "}", data: 34),
  ]

  private static let sizes = [
    header(
      "shape that is a number", says: "has '1' where an array is expected",
      "{" + entryText("a", shape: "1", 0, 4) + "}", data: 4),
    header(
      "negative dimension", says: "shape holds the negative number -1",
      "{" + entryText("a", shape: "[-1]", 0, 4) + "}", data: 4),
    header(
      "fractional dimension", says: "has 1.0 where a 64-bit integer is expected",
      "{" + entryText("a", shape: "[1.0]", 0, 4) + "}", data: 4),
    header(
      "dimension above 64 bits", says: "has 18446744073709551616 where a 64-bit integer",
      "{" + entryText("a", shape: "[18446744073709551616]", 0, 4) + "}", data: 4),
    header(
      "dimension with a leading zero", says: "has a number with a leading zero",
      "{" + entryText("a", shape: "[01]", 0, 4) + "}", data: 4),
    header(
      "dimension that is NaN", says: "has 'N' where a digit is expected",
      "{" + entryText("a", shape: "[NaN]", 0, 4) + "}", data: 4),
    header(
      "elements above 64 bits",
      says: "shape [4294967296, 4294967296] has too many elements to count",
      "{" + entryText("a", shape: "[4294967296,4294967296]", 0, 0) + "}"),
    header(
      "dimensions above 64 bits beside a zero",
      says: "shape [0, 4294967296, 4294967296] has too many elements to count",
      "{" + entryText("a", shape: "[0,4294967296,4294967296]", 0, 0) + "}"),
    header(
      "bytes above 64 bits", says: "F64 [2305843009213693952] does not fill whole bytes, or more",
      "{" + entryText("a", "F64", shape: "[2305843009213693952]", 0, 0) + "}"),
    header(
      "half a byte", says: "F4 [3] does not fill whole bytes",
      "{" + entryText("a", "F4", shape: "[3]", 0, 2) + "}", data: 2),
    header(
      "fewer bytes than the shape needs",
      says: "BF16 [2, 3] needs 12 bytes, but data_offsets [0, 8] hold 8",
      "{" + entryText("a", "BF16", shape: "[2,3]", 0, 8) + "}", data: 8),
    header(
      "more bytes than the shape needs",
      says: "F16 [2] needs 4 bytes, but data_offsets [0, 8] hold 8",
      "{" + entryText("a", "F16", shape: "[2]", 0, 8) + "}", data: 8),
  ]

  private static let layouts = [
    header(
      "one offset", says: "data_offsets must be two integers, not 1",
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, data: 4),
    header(
      "three offsets", says: "data_offsets must be two integers, not 3",
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, data: 4),
    header(
      "offsets in reverse", says: "data_offsets [4, 0] end before they begin",
      "{" + entryText("a", 4, 0) + "}", data: 4),
    header(
      "negative offset", says: "data_offsets holds the negative number -4",
      "{" + entryText("a", -4, 0) + "}", data: 4),
    header(
      "hole before the first tensor", says: "begin at offset 8, which leaves a hole of 8 bytes",
      "{" + entryText("a", 8, 12) + "}", data: 12),
    header(
      "hole between tensors", says: "b: its data begin at offset 6, which leaves a hole of 2 bytes",
      "{" + entryText("b", 6, 10) + "," + entryText("a", 0, 4) + "}", data: 10),
    header(
      "tensors that overlap", says: "b: its data at offset 2 overlap those of a, which end at 4",
      "{" + entryText("a", 0, 4) + "," + entryText("b", 2, 6) + "}", data: 6),
    header(
      "tensors that share bytes", says: "c: its data at offset 0 overlap those of a",
      "{" + entryText("a", 0, 4) + "," + entryText("c", 0, 4) + "}", data: 4),
    header(
      "truncated data", says: "its data end at offset 4, but the file holds only 3 bytes",
      "{" + entryText("a", 0, 4) + "}", data: 3),
    header(
      "data beyond any file", says: "its data end at offset 144115188075855872",
      "{" + entryText("a", "U8", shape: "[144115188075855872]", 0, 144_115_188_075_855_872)
        + "}"),
    header(
      "bytes after the last tensor", says: "has 5 trailing bytes",
      "{" + entryText("a", 0, 4) + "}", data: 9),
    header("bytes without a tensor", says: "has 1 trailing bytes", "{}", data: 1),
  ]
}
