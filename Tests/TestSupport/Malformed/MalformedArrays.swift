// SPDX-License-Identifier: Apache-2.0

extension MalformedCase {
  /// Files of arrays that must be refused, at the latest when their values are used.
  public static let arrays: [MalformedCase] = headers + elements + archives + members + folders

  /// Compressed texts that must be refused.
  public static let gzips: [MalformedCase] = [
    gzip("empty gzip file", says: "is empty", []),
    gzip("text under the name of gzip", says: "does not begin as a gzip file", Array("hello".utf8)),
    gzip(
      "truncated gzip", says: "the compressed data end too early",
      Array(gzipBytes([1, 2, 3]).dropLast(9))),
    gzip("wrong CRC in gzip", says: "incorrect data check", flip(gzipBytes([1, 2, 3]), 18)),
    gzip("wrong length in gzip", says: "incorrect length check", flip(gzipBytes([1, 2, 3]), 22)),
    gzip("unknown method in gzip", says: "unknown compression method", flip(gzipBytes([1]), 2)),
    gzip("damaged block in gzip", says: "invalid stored block lengths", flip(gzipBytes([1]), 13)),
    gzip(
      "text after gzip", says: "byte 26: something that is not gzip follows",
      gzipBytes([1, 2, 3]) + [9]),
    gzip(
      "damaged second member", says: "member at byte 26: the compressed data are corrupt",
      gzipBytes([1, 2, 3]) + flip(gzipBytes([4]), 3, by: 0xE0)),
  ]

  private static func gzip(
    _ name: String, says fragment: String, _ bytes: [UInt8]
  ) -> MalformedCase {
    MalformedCase(name, says: fragment, target: "text.txt.gz") {
      try $0.write(bytes, to: "text.txt.gz")
    }
  }

  private static func flip(_ bytes: [UInt8], _ place: Int, by mask: UInt8 = 1) -> [UInt8] {
    var bytes = bytes
    bytes[place] ^= mask
    return bytes
  }

  private static func npy(
    _ name: String, says fragment: String, _ bytes: [UInt8]
  ) -> MalformedCase {
    MalformedCase(name, says: fragment, target: "x.npy") { try $0.write(bytes, to: "x.npy") }
  }

  private static func npz(
    _ name: String, says fragment: String, _ bytes: [UInt8]
  ) -> MalformedCase {
    MalformedCase(name, says: fragment, target: "x.npz") { try $0.write(bytes, to: "x.npz") }
  }

  private static let goodNPY = npyBytes(
    npyDictionary("<f4", "(2,)"), data: [UInt8](repeating: 0, count: 8))

  private static let headers = [
    npy("empty NPY file", says: "does not begin as a NumPy array", []),
    npy("NPY file of nine bytes", says: "ends inside the NPY header", Array(goodNPY.prefix(9))),
    npy("NPY version 4", says: "NPY version 4.0 is unknown", flip(goodNPY, 6, by: 5)),
    npy(
      "NPY header longer than allowed", says: "NPY header of 65535 bytes",
      Array(goodNPY.prefix(8)) + [0xFF, 0xFF]),
    npy(
      "NPY header longer than the file",
      says: "x: NPY header of 500 bytes, but only 0 bytes follow",
      Array(goodNPY.prefix(8)) + [0xF4, 0x01]),
    npy("no dictionary", says: "byte 10: '{' expected", npyBytes("[]", data: [])),
    npy("no shape", says: "or shape is missing", npyBytes("{'descr': '<f4'}", data: [])),
    npy(
      "descr twice", says: "repeated key 'descr'",
      npyBytes("{'descr':'<f4','descr':'<f4'}", data: [])),
    npy("string without end", says: "a string does not end", npyBytes("{'descr", data: [])),
    npy(
      "text after the dictionary", says: "something follows the dictionary",
      npyBytes(npyDictionary("<f4", "()") + "x", data: [0, 0, 0, 0])),
    npy(
      "fortran_order that is a number", says: "True or False expected",
      npyBytes("{'fortran_order': 1}", data: [])),
    npy(
      "shape that is a number", says: "',' expected after a single dimension",
      npyBytes(npyDictionary("<f4", "(1)"), data: [0, 0, 0, 0])),
    npy(
      "negative dimension", says: "a dimension expected",
      npyBytes(npyDictionary("<f4", "(-1,)"), data: [])),
    npy(
      "dimension above 64 bits", says: "a dimension is too large",
      npyBytes(npyDictionary("<f4", "(9223372036854775808,)"), data: [])),
    npy(
      "elements above 64 bits", says: "shape [4294967296, 4294967296] has too many elements",
      npyBytes(npyDictionary("<f4", "(4294967296, 4294967296)"), data: [])),
  ]

  private static let elements = [
    npy(
      "pickled objects", says: "x: holds pickled Python objects",
      npyBytes(npyDictionary("|O", "(1,)"), data: [0])),
    npy(
      "records", says: "holds records of several fields",
      npyBytes("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", data: [])),
    npy(
      "complex numbers", says: "'<c8' is not a plain",
      npyBytes(npyDictionary("<c8", "()"), data: [])),
    npy("text", says: "'<U3' is not a plain", npyBytes(npyDictionary("<U3", "()"), data: [])),
    npy(
      "no byte order", says: "'|f4' is not a plain",
      npyBytes(npyDictionary("|f4", "()"), data: [])),
    npy(
      "too few elements", says: "<f4 [3] needs 12 bytes, but 8 follow",
      npyBytes(npyDictionary("<f4", "(3,)"), data: [UInt8](repeating: 0, count: 8))),
    npy(
      "bytes after the elements", says: "<f4 [2] needs 8 bytes, but 9 follow", goodNPY + [0]),
    npy(
      "integer above Int", says: "x: U64 element 0 is 18446744073709551615",
      npyBytes(npyDictionary("<u8", "()"), data: [UInt8](repeating: 0xFF, count: 8))),
  ]

  private static let archives = [
    npz("empty archive file", says: "is too short for a ZIP archive", []),
    npz(
      "truncated archive", says: "the end of the archive is not there",
      Array(zipBytes([member(0)]).dropLast(1))),
    npz(
      "central directory elsewhere", says: "the central directory of 52 bytes at byte 3",
      zipBytes([member(0)], directoryOffset: 3)),
    npz(
      "more entries than fit", says: "too small for 2 members", zipBytes([member(0)], entries: 2)),
    npz(
      "fewer entries than stored", says: "has 52 bytes too many",
      zipBytes([member(0), member(1)], entries: 1)),
    npz(
      "ZIP64 without locator", says: "the ZIP64 locator is not there", zipBytes([], entries: 0xFFFF)
    ),
    npz(
      "ZIP64 locator that points outside", says: "the ZIP64 locator points to byte 1000",
      zipBytes([], entries: 0xFFFF, before: locator(1000, padding: 0))),
    npz(
      "ZIP64 locator that points elsewhere", says: "the ZIP64 record is not at byte 1",
      zipBytes([], entries: 0xFFFF, before: locator(1, padding: 64))),
    npz("member twice", says: "holds \"a0.npy\" twice", zipBytes([member(0), member(0)])),
    npz(
      "members that overlap", says: "two members overlap at byte",
      zipBytes([
        member(0).with {
          $0.size += 40
          $0.compressedSize += 40
        }, member(1),
      ])),
  ]

  private static func member(_ number: Int, deflated: Bool = false) -> ZipMember {
    ZipMember("a\(number).npy", goodNPY, deflated: deflated)
  }

  /// A ZIP64 locator after `padding` zeros.
  private static func locator(_ offset: UInt64, padding: Int) -> [UInt8] {
    [UInt8](repeating: 0, count: padding) + [0x50, 0x4B, 6, 7, 0, 0, 0, 0] + littleEndian(offset)
      + [1, 0, 0, 0]
  }

  private static let members = [
    npz(
      "member that is no array", says: "readme.txt: is not an NPY array",
      zipBytes([ZipMember("readme.txt", [])])),
    npz(
      "encrypted member", says: "a0.npy: is encrypted",
      zipBytes([member(0).with { $0.flags = 1 }])),
    npz("unknown compression", says: "by method 12", zipBytes([member(0).with { $0.method = 12 }])),
    npz(
      "other name in the local header", says: "its local header has another name",
      zipBytes([member(0).with { $0.localName = "b0.npy" }])),
    npz(
      "local header outside", says: "its local header is outside the archive",
      zipBytes([member(0).with { $0.offset = 5000 }])),
    npz(
      "no local header", says: "no local header at byte 1",
      zipBytes([member(0).with { $0.offset = 1 }])),
    npz(
      "data past the directory", says: "reach past the central directory",
      zipBytes([
        member(0).with {
          $0.compressedSize += 100
          $0.size += 100
        }
      ])),
    npz(
      "stored size that differs", says: "stored bytes cannot hold the declared 5",
      zipBytes([member(0).with { $0.size = 5 }])),
    npz(
      "zip bomb", says: "stored bytes cannot hold the declared 4000000000",
      zipBytes([member(0, deflated: true).with { $0.size = 4_000_000_000 }])),
    npz("wrong CRC", says: "a0.npy: its CRC-32 is", zipBytes([member(0).with { $0.crc ^= 1 }])),
    npz(
      "wrong CRC of a deflated member", says: "a1.npy: its CRC-32 is",
      zipBytes([member(1, deflated: true).with { $0.crc ^= 1 }])),
    npz(
      "truncated deflated member", says: "a1.npy: the compressed data end too early",
      zipBytes([
        member(1, deflated: true).with {
          $0.data.removeLast(4)
          $0.compressedSize -= 4
        }
      ])),
    npz(
      "damaged deflated member", says: "a1.npy: the compressed data are corrupt",
      zipBytes([member(1, deflated: true).with { $0.data[0] = 7 }])),
    npz(
      "more data than declared", says: "inflates to more than declared",
      zipBytes([member(1, deflated: true).with { $0.size -= 1 }])),
    npz(
      "bytes after the deflated data", says: "2 bytes follow its compressed data",
      zipBytes([
        member(1, deflated: true).with {
          $0.data += [0, 0]
          $0.compressedSize += 2
        }
      ])),
    npz(
      "pickled objects in an archive", says: "a: holds pickled Python objects",
      zipBytes([ZipMember("a.npy", npyBytes(npyDictionary("|O", "(1,)"), data: [0]))])),
  ]

  private static let folders = [
    MalformedCase("folder without arrays", says: "holds no .npy or .safetensors files") { _ in },
    MalformedCase("file of another kind", says: "is not a file of arrays", target: "x.csv") {
      try $0.write([], to: "x.csv")
    },
    MalformedCase("damaged array in a folder", says: "layers.1.router_input: NPY header of") {
      try $0.write(goodNPY, to: "layers.0.router_input.npy")
      try $0.write(Array(goodNPY.prefix(20)), to: "layers.1.router_input.npy")
    },
    MalformedCase("FP8 in an array file", says: "F8_E4M3 is not a plain", target: "x.safetensors") {
      try $0.write(
        safetensorsBytes("{" + entryText("a", "F8_E4M3", 0, 1) + "}", data: 1),
        to: "x.safetensors")
    },
  ]
}
