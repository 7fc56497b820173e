// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Tensors

/// A named array of numbers in a file. Nothing is read before it is asked for.
package struct NumericArray: Sendable {
  package let name: String
  /// Slowest dimension first; empty for a scalar.
  package let shape: [Int]
  package let type: ElementType

  private let storage: ArrayStorage
  private let dataStart: Int
  private let isBigEndian: Bool
  private let isColumnMajor: Bool

  /// An array whose elements lie in `range` of `file`, row-major and little-endian.
  init(_ tensor: TensorInfo, in file: MappedFile) {
    name = tensor.name
    shape = tensor.shape
    type = tensor.type
    storage = ArrayStorage(file, .plain(tensor.range))
    dataStart = 0
    isBigEndian = false
    isColumnMajor = false
  }

  /// An array whose elements begin at byte `start` of `storage`, row-major and little-endian.
  init(name: String, shape: [Int], type: ElementType, in storage: ArrayStorage, from start: Int) {
    self.name = name
    self.shape = shape
    self.type = type
    self.storage = storage
    dataStart = start
    isBigEndian = false
    isColumnMajor = false
  }

  /// The NPY array in `storage`.
  init(name: String, npy storage: ArrayStorage) throws(RegateError) {
    let header = try NPYHeader(
      parsing: try storage.prefix(NPYHeader.prefixLimit), count: storage.count,
      file: storage.file.path, name: name)
    self.name = name
    self.storage = storage
    shape = header.shape
    type = header.type
    dataStart = header.dataStart
    isBigEndian = header.isBigEndian
    isColumnMajor = header.isColumnMajor && header.shape.count > 1
  }

  /// Path of the file that holds the array.
  package var path: String { storage.file.path }

  /// Size of the first dimension; 1 for a scalar.
  package var rowCount: Int { shape.first ?? 1 }

  /// Elements per row: the product of the other dimensions.
  package var rowLength: Int { shape.dropFirst().reduce(1, *) }

  /// Whether the elements are floating-point numbers.
  package var isFloatingPoint: Bool { [.f16, .bf16, .f32, .f64].contains(type) }

  /// The values of `rows` of the first dimension, row after row. F64 is rounded to Float.
  package func floats(rows: Range<Int>) throws(RegateError) -> [Float] {
    guard isFloatingPoint else {
      throw mismatch("holds \(type.rawValue) values where floating-point numbers are needed")
    }
    return try withRowMajorBytes(of: rows) { (bytes) throws(RegateError) in
      try TensorDecoder.decode(bytes, type: type, count: rows.count * rowLength)
    }
  }

  /// All values, first dimension slowest. Values that Int cannot hold are an error.
  package func integers() throws(RegateError) -> [Int] {
    guard !isFloatingPoint else {
      throw mismatch("holds \(type.rawValue) values where integers are needed")
    }
    return try withRowMajorBytes(of: 0..<rowCount) { (bytes) throws(RegateError) in
      try TensorDecoder.integers(bytes, type: type, count: rowCount * rowLength)
    }
  }

  /// Throws where something wrote to the array's file since it was opened.
  package func requireUnchanged() throws(RegateError) { try storage.file.requireUnchanged() }

  /// Calls `body` with all elements as little-endian bytes, first dimension slowest.
  package func withBytes(_ body: (RawSpan) -> Void) throws(RegateError) {
    try withRowMajorBytes(of: 0..<rowCount, body)
  }

  /// Says that `rows` will not be needed again, so that memory stays bounded on a pass over a large
  /// array. A compressed array is forgotten as a whole and would be inflated anew.
  package func discard(rows: Range<Int>) {
    let width = isColumnMajor ? 0 : rowLength * type.blockBits / 8
    storage.discard(dataStart + rows.lowerBound * width..<dataStart + rows.upperBound * width)
  }

  private func mismatch(_ problem: String) -> RegateError {
    RegateError(.mismatch, file: path, subject: name, problem)
  }

  // MARK: Bytes

  /// Calls `body` with the elements of `rows` as little-endian bytes, row after row.
  private func withRowMajorBytes<R>(
    of rows: Range<Int>, _ body: (RawSpan) throws(RegateError) -> R
  ) throws(RegateError) -> R {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= rowCount, "rows outside the array")
    let width = type.blockBits / 8
    let range =
      isColumnMajor
      ? dataStart..<dataStart + rowCount * rowLength * width
      : dataStart + rows.lowerBound * rowLength * width..<dataStart + rows.upperBound * rowLength
        * width
    do throws(RegateError) {
      return try storage.withBytes(in: range) { (bytes) throws(RegateError) in
        guard isColumnMajor || isBigEndian && width > 1 else { return try body(bytes) }
        return try reordered(bytes, rows: rows, width: width).withBytes(body)
      }
    } catch {
      var located = error
      if located.file == nil { located.file = path }
      if located.subject == nil { located.subject = name }
      throw located
    }
  }

  /// The elements of `rows`, row-major and little-endian. `bytes` begin with the first of `rows`,
  /// or, column-major, with the whole array.
  private func reordered(
    _ bytes: RawSpan, rows: Range<Int>, width: Int
  ) -> [UInt8] {
    let count = rows.count * rowLength
    var result: [UInt8] = []
    result.reserveCapacity(count * width)
    // Strides in elements, and the position that is copied next.
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in strides.indices.dropFirst() { strides[axis] = strides[axis - 1] * shape[axis - 1] }
    var position = [Int](repeating: 0, count: shape.count)
    if isColumnMajor { position[0] = rows.lowerBound }
    for element in 0..<count {
      let place = isColumnMajor ? zip(position, strides).reduce(0) { $0 + $1.0 * $1.1 } : element
      for byte in 0..<width {
        result.append(bytes[place * width + (isBigEndian ? width - 1 - byte : byte)])
      }
      var axis = shape.count - 1
      while isColumnMajor, axis >= 0 {
        position[axis] += 1
        if axis == 0 || position[axis] < shape[axis] { break }
        position[axis] = 0
        axis -= 1
      }
    }
    return result
  }
}
