// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// A reader for the one kind of Python dictionary that an NPY header is.
struct PythonLiteral {
  private let bytes: ArraySlice<UInt8>
  private let file: String
  private let name: String
  private var position: Int

  init(_ bytes: ArraySlice<UInt8>, file: String, name: String) {
    self.bytes = bytes
    self.file = file
    self.name = name
    position = bytes.startIndex
  }

  /// Reads the whole header: each of the three keys exactly once, in any order.
  mutating func readHeader() throws(RegateError) -> (
    descr: String, isColumnMajor: Bool, shape: [Int]
  ) {
    var descr: String?
    var isColumnMajor: Bool?
    var shape: [Int]?
    try expect("{")
    while !take("}") {
      let key = try readString()
      try expect(":")
      switch key {
      case "descr" where descr == nil: descr = try readDescr()
      case "fortran_order" where isColumnMajor == nil: isColumnMajor = try readBool()
      case "shape" where shape == nil: shape = try readShape()
      default: throw error("unexpected or repeated key '\(key)'")
      }
      if !take(",") {
        try expect("}")
        break
      }
    }
    skipSpace()
    guard position == bytes.endIndex else { throw error("something follows the dictionary") }
    guard let descr, let isColumnMajor, let shape else {
      throw error("descr, fortran_order or shape is missing")
    }
    return (descr, isColumnMajor, shape)
  }

  private func error(_ problem: String) -> RegateError {
    RegateError(
      .malformed, file: file, subject: name,
      "NPY header, byte \(position): \(problem)")
  }

  private mutating func skipSpace() {
    while position < bytes.endIndex, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) {
      position += 1
    }
  }

  private mutating func take(_ text: String) -> Bool {
    skipSpace()
    guard bytes[position...].starts(with: text.utf8) else { return false }
    position += text.utf8.count
    return true
  }

  private mutating func expect(_ text: String) throws(RegateError) {
    guard take(text) else { throw error("'\(text)' expected") }
  }

  private mutating func readString() throws(RegateError) -> String {
    let quote: UInt8
    if take("'") {
      quote = UInt8(ascii: "'")
    } else if take("\"") {
      quote = UInt8(ascii: "\"")
    } else {
      throw error("a string expected")
    }
    guard let end = bytes[position...].firstIndex(of: quote) else {
      throw error("a string does not end")
    }
    defer { position = end + 1 }
    let text = bytes[position..<end]
    guard text.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }) else {
      throw error("a string holds unexpected characters")
    }
    return String(decoding: text, as: UTF8.self)
  }

  private mutating func readDescr() throws(RegateError) -> String {
    skipSpace()
    guard position < bytes.endIndex, bytes[position] != UInt8(ascii: "[") else {
      throw RegateError(
        .unsupported, file: file, subject: name, "holds records of several fields",
        advice: "save each field as an array of its own")
    }
    return try readString()
  }

  private mutating func readBool() throws(RegateError) -> Bool {
    if take("True") { return true }
    guard take("False") else { throw error("True or False expected") }
    return false
  }

  private mutating func readShape() throws(RegateError) -> [Int] {
    var shape: [Int] = []
    try expect("(")
    while !take(")") {
      shape.append(try readCount())
      if take(",") { continue }
      // Python takes (3) for a number.
      guard shape.count > 1 else { throw error("',' expected after a single dimension") }
      try expect(")")
      break
    }
    return shape
  }

  private mutating func readCount() throws(RegateError) -> Int {
    skipSpace()
    let start = position
    var value = 0
    while position < bytes.endIndex, (0x30...0x39).contains(bytes[position]) {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(Int(bytes[position] - 0x30))
      guard !overflow, !carry else { throw error("a dimension is too large") }
      value = sum
      position += 1
    }
    guard position > start else { throw error("a dimension expected") }
    // numpy under Python 2 wrote long integers as 3L.
    _ = take("L")
    return value
  }
}
