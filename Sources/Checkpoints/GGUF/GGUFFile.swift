// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import OrderedCollections

// GGUF versions 2 and 3, as ggml's docs/gguf.md describes them and ggml 0.25 reads them.
//
// 1. Magic "GGUF", u32 version, i64 number of tensors, i64 number of key-value pairs.
// 2. For each pair: string key, u32 type, value.
//    A string is a u64 length and that many bytes; a bool is one byte, 0 or 1.
//    An array is a u32 element type, a u64 count, and the elements without padding.
// 3. For each tensor: string name, u32 number of dimensions, i64 per dimension (fastest first),
//    u32 type, u64 offset of its data from the start of the data section.
// 4. Zeros up to a multiple of the alignment, counted from the start of the file. The alignment
//    is `general.alignment`, 32 where that key is missing.
// 5. The data section: the tensors in listing order, each followed by zeros up to a multiple of
//    the alignment.
//
// All numbers are little-endian. (Big-endian files exist; nothing in a header says so, except
// that the version number looks byte-swapped.)

/// One GGUF file, memory-mapped, with its whole header validated.
package struct GGUFFile: Sendable {
  /// The mapped bytes.
  package let file: MappedFile
  /// 2 or 3.
  package let version: UInt32
  /// The key-value pairs in file order.
  package let metadata: OrderedDictionary<String, GGUFValue>
  /// Every tensor starts at a multiple of this.
  package let alignment: Int
  /// In listing order, which is also the order of their data.
  package let tensors: [TensorInfo]
  /// Where the data section starts; everything before it is header. (A file without tensors may
  /// lack the padding: then this is its end.)
  package let dataStart: Int

  /// Bytes after the last tensor and its padding, which belong to nothing.
  package var trailingByteCount: Int {
    let end = max(tensors.last?.range.upperBound ?? dataStart, dataStart)
    return max(0, file.count - (GGUFPlacement.roundedUp(end, to: alignment) ?? file.count))
  }

  /// Opens and validates the file at `path`. `index` becomes the file number of its tensors.
  package init(path: String, index: Int = 0) throws(RegateError) {
    try self.init(MappedFile(path: path), index: index)
  }

  /// Validates a mapped file.
  package init(_ file: MappedFile, index: Int = 0) throws(RegateError) {
    var parser = GGUFParser(file)
    let preamble = try parser.preamble()
    let metadata = try parser.metadata(count: preamble.keys)
    let alignment = try GGUFFile.alignment(of: metadata, in: file.path)
    let listed = try parser.tensors(count: preamble.tensors)
    guard let dataStart = GGUFPlacement.roundedUp(parser.offset, to: alignment) else {
      throw RegateError(.malformed, file: file.path, "the header ends beyond any file size")
    }
    self.file = file
    self.version = preamble.version
    self.metadata = metadata
    self.alignment = alignment
    self.tensors = try GGUFFile.locate(
      listed, in: file, from: dataStart, alignment: alignment, index: index)
    self.dataStart = min(dataStart, file.count)
  }

  /// The alignment that the metadata ask for.
  static func alignment(
    of metadata: OrderedDictionary<String, GGUFValue>, in file: String?
  ) throws(RegateError) -> Int {
    let key = "general.alignment"
    guard let value = metadata[key] else { return GGUFLimit.defaultAlignment }
    guard case .uint32(let alignment) = value else {
      throw RegateError(
        .malformed, file: file, subject: key, "has type \(value.typeName), must be u32")
    }
    guard alignment.nonzeroBitCount == 1 else {
      throw RegateError(
        .malformed, file: file, subject: key, "is \(alignment), must be a power of two")
    }
    guard alignment <= GGUFLimit.alignment else {
      throw RegateError(
        .unsupported, file: file, subject: key,
        "is \(alignment); at most \(GGUFLimit.alignment) is supported")
    }
    return Int(alignment)
  }

  /// Checks each stored offset against the one place where the tensor may lie, and that its data
  /// end inside the file. The padding after the last tensor may be missing.
  private static func locate(
    _ listed: [GGUFListedTensor], in file: MappedFile, from dataStart: Int, alignment: Int,
    index: Int
  ) throws(RegateError) -> [TensorInfo] {
    var placement = GGUFPlacement(alignment: alignment)
    var tensors: [TensorInfo] = []
    tensors.reserveCapacity(listed.count)
    for (entry, offset) in listed {
      let range = try placement.place(entry, in: file.path)
      guard offset % UInt64(alignment) == 0 else {
        throw RegateError(
          .malformed, file: file.path, subject: entry.name,
          "data offset \(offset) is not a multiple of the alignment, \(alignment)")
      }
      guard offset == UInt64(range.lowerBound) else {
        throw RegateError(
          .malformed, file: file.path, subject: entry.name,
          "data offset is \(offset), expected \(range.lowerBound): tensors must follow each other"
            + " in listing order without gaps")
      }
      let (end, overflow) = dataStart.addingReportingOverflow(range.upperBound)
      guard !overflow, end <= file.count else {
        throw RegateError(
          .malformed, file: file.path, subject: entry.name,
          "\(range.count) bytes of data at offset \(offset) end beyond the file's"
            + " \(file.count) bytes",
          advice: "the file may be truncated: fetch it again")
      }
      tensors.append(
        TensorInfo(
          name: entry.name, type: entry.type, shape: entry.shape, file: index,
          range: dataStart + range.lowerBound..<end))
    }
    return tensors
  }
}
