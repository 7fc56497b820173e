// SPDX-License-Identifier: Apache-2.0
//
// NPY (numpy 2.4, numpy.lib.format, versions 1.0 to 3.0):
//
// 1. 6 bytes: 93 "NUMPY".  2. u8 major, u8 minor version.
// 3. Header length: u16 (1.0) or u32 (2.0, 3.0), little-endian.
// 4. Header: a Python dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), },
//    padded by spaces and a line feed; Latin-1 (1.0, 2.0) or UTF-8 (3.0).
// 5. The elements, first dimension slowest unless fortran_order, in the byte order of descr.

import ByteStorage
import Tensors

/// What the header of an NPY file says.
struct NPYHeader {
  let type: ElementType
  let isBigEndian: Bool
  /// Whether the first dimension is the fastest.
  let isColumnMajor: Bool
  let shape: [Int]
  /// Where the elements start.
  let dataStart: Int

  /// numpy's `_MAX_HEADER_SIZE`: longer headers are not loaded without further ado there either.
  static let sizeLimit = 10_000
  /// No header ends later.
  static let prefixLimit = 12 + sizeLimit

  /// Parses the header at the start of `bytes`, the first bytes of an array of `count` bytes.
  init(parsing bytes: [UInt8], count: Int, file: String, name: String) throws(RegateError) {
    func problem(_ text: String) -> RegateError {
      RegateError(.malformed, file: file, subject: name, text)
    }
    guard bytes.starts(with: [0x93] + Array("NUMPY".utf8)) else {
      throw problem("does not begin as a NumPy array")
    }
    guard bytes.count >= 10 else { throw problem("ends inside the NPY header") }
    let major = bytes[6]
    guard (1...3).contains(major), bytes[7] == 0 else {
      throw problem("NPY version \(major).\(bytes[7]) is unknown; 1.0, 2.0 and 3.0 are known")
    }
    var length = Int(bytes[8]) | Int(bytes[9]) << 8
    var start = 10
    if major > 1 {
      guard bytes.count >= 12 else { throw problem("ends inside the NPY header") }
      length |= Int(bytes[10]) << 16 | Int(bytes[11]) << 24
      start = 12
    }
    guard length <= NPYHeader.sizeLimit else {
      throw problem("NPY header of \(length) bytes, more than \(NPYHeader.sizeLimit)")
    }
    guard length <= bytes.count - start else {
      throw problem("NPY header of \(length) bytes, but only \(bytes.count - start) bytes follow")
    }
    var dictionary = PythonLiteral(bytes[start..<start + length], file: file, name: name)
    let fields = try dictionary.readHeader()
    (type, isBigEndian) = try NPYHeader.elementType(fields.descr, file: file, name: name)
    isColumnMajor = fields.isColumnMajor
    shape = fields.shape
    dataStart = start + length
    let needed = try type.byteCount(shape: shape, file: file, subject: name)
    guard needed == count - dataStart else {
      throw problem(
        "\(fields.descr) \(shape) needs \(needed) bytes, but \(count - dataStart) follow the header"
      )
    }
  }

  private static func elementType(
    _ descr: String, file: String, name: String
  ) throws(RegateError) -> (ElementType, isBigEndian: Bool) {
    let types: [String: ElementType] = [
      "b1": .bool, "i1": .i8, "i2": .i16, "i4": .i32, "i8": .i64, "u1": .u8, "u2": .u16,
      "u4": .u32, "u8": .u64, "f2": .f16, "f4": .f32, "f8": .f64,
      // What numpy writes for ml_dtypes.bfloat16, which has no code of its own.
      "V2": .bf16,
    ]
    let code = String(descr.dropFirst())
    guard code.first != "O" else {
      throw RegateError(
        .refused, file: file, subject: name,
        "holds pickled Python objects, which can run code when they are read",
        advice: "save plain numbers")
    }
    guard let order = descr.first, let type = types[code],
      order == "<" || order == ">" || order == "|" && (type.blockBits == 8 || type == .bf16)
    else {
      throw RegateError(
        .unsupported, file: file, subject: name, "element type '\(descr)' is not a plain number",
        advice: "save float32, float16 or an integer type")
    }
    return (type, order == ">")
  }
}
