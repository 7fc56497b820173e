// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import OrderedCollections

/// A GGUF header to be written: change the metadata or the tensor list, then encode.
///
/// A header taken from a file and not changed encodes to the same bytes. Parts of a split model
/// are rewritten one by one; all but the first carry only their `split.*` keys.
package struct GGUFHeader: Sendable {
  /// The key of a string of spaces that gives the header a wanted length. Nothing but metadata
  /// may stand between the tensor list and the aligned start of the data.
  package static let paddingKey = "regate.padding"
  /// The block size of the file systems that can share ranges between files (Btrfs, XFS, APFS):
  /// a copy can share the original's data if their offsets differ by a multiple of it.
  package static let blockBytes = 4096

  /// 2 or 3; the two have the same layout.
  package var version: UInt32
  package var metadata: OrderedDictionary<String, GGUFValue>
  package var tensors: [GGUFTensorEntry]

  package init(
    version: UInt32 = 3, metadata: OrderedDictionary<String, GGUFValue> = [:],
    tensors: [GGUFTensorEntry] = []
  ) {
    self.version = version
    self.metadata = metadata
    self.tensors = tensors
  }

  package init(_ file: GGUFFile) {
    self.init(
      version: file.version, metadata: file.metadata,
      tensors: file.tensors.map {
        GGUFTensorEntry(name: $0.name, type: $0.type, shape: $0.shape)
      })
  }

  /// The header's bytes and where it places the tensors. `file` is named in errors and becomes
  /// the file of which `index` is the number.
  package func encoded(file: String? = nil) throws(RegateError) -> GGUFEncodedHeader {
    let alignment = try GGUFFile.alignment(of: metadata, in: file)
    var placement = GGUFPlacement(alignment: alignment)
    var names: Set<String> = []
    for tensor in tensors {
      guard names.insert(tensor.name).inserted else {
        throw RegateError(
          .refused, file: file, subject: tensor.name, "the tensor would stand in the file twice")
      }
      _ = try placement.place(tensor, in: file)
    }
    var bytes = try prefix(file: file)
    for (tensor, range) in zip(tensors, placement.ranges) {
      GGUFHeader.append(tensor, at: range.lowerBound, to: &bytes)
    }
    bytes.append(contentsOf: repeatElement(0, count: -bytes.count & (alignment - 1)))
    return GGUFEncodedHeader(
      bytes: bytes, offsets: placement.ranges.map(\.lowerBound),
      ranges: placement.ranges.map { $0.lowerBound + bytes.count..<$0.upperBound + bytes.count },
      fileBytes: bytes.count + placement.end)
  }

  /// Lengthens the header until the data start differs from `dataStart`, the original's, by a
  /// multiple of `blockBytes`. Does nothing where it already does.
  package mutating func alignData(
    with dataStart: Int, file: String? = nil
  ) throws(RegateError) {
    let mask = GGUFHeader.blockBytes - 1
    func distance(_ header: GGUFHeader) throws(RegateError) -> Int {
      (dataStart - (try header.encoded(file: file).bytes.count)) & mask
    }
    if try distance(self) == 0 { return }
    // Alignments of 4096 and more are met by every data start and never come here; below that,
    // `dataStart` is a multiple of the alignment, so an unpadded length that is congruent to it
    // is already aligned.
    metadata[GGUFHeader.paddingKey] = nil
    if try distance(self) == 0 { return }
    metadata[GGUFHeader.paddingKey] = .string("")
    let gap = (dataStart - (try unpaddedBytes(file: file))) & mask
    metadata[GGUFHeader.paddingKey] = .string(String(repeating: " ", count: gap))
    let left = try distance(self)
    precondition(left == 0, "the data start must come from a file of the same alignment")
  }

  /// Length of everything before the zeros that precede the data section.
  private func unpaddedBytes(file: String?) throws(RegateError) -> Int {
    tensors.reduce(try prefix(file: file).count) {
      $0 + 8 + $1.name.utf8.count + 4 + 8 * $1.shape.count + 4 + 8
    }
  }

  /// Everything before the tensor list.
  private func prefix(file: String?) throws(RegateError) -> [UInt8] {
    guard version == 2 || version == 3 else {
      throw RegateError(.unsupported, file: file, "cannot write GGUF version \(version)")
    }
    var bytes = Array("GGUF".utf8)
    GGUFValue.append(version, to: &bytes)
    GGUFValue.append(UInt64(tensors.count), to: &bytes)
    GGUFValue.append(UInt64(metadata.count), to: &bytes)
    for (key, value) in metadata {
      guard !key.isEmpty, key.utf8.count <= GGUFLimit.keyBytes else {
        throw RegateError(
          .refused, file: file, subject: key,
          "a key needs 1 to \(GGUFLimit.keyBytes) bytes, has \(key.utf8.count)")
      }
      GGUFValue.append(key, to: &bytes)
      value.encode(into: &bytes)
    }
    return bytes
  }

  private static func append(
    _ tensor: GGUFTensorEntry, at offset: Int, to bytes: inout [UInt8]
  ) {
    GGUFValue.append(tensor.name, to: &bytes)
    GGUFValue.append(UInt32(tensor.shape.count), to: &bytes)
    for dimension in tensor.shape.reversed() { GGUFValue.append(Int64(dimension), to: &bytes) }
    GGUFValue.append(tensor.type.ggmlID ?? .max, to: &bytes)
    GGUFValue.append(UInt64(offset), to: &bytes)
  }
}

/// A header as bytes, and the file that it describes.
package struct GGUFEncodedHeader: Sendable {
  /// The header up to the data section, padding included.
  package let bytes: [UInt8]
  /// Offset of each tensor in the data section, as stored in the header.
  package let offsets: [Int]
  /// Byte range of each tensor in the file.
  package let ranges: [Range<Int>]
  /// Size of the whole file. The gaps between tensors, and after the last, are zeros.
  package let fileBytes: Int

  /// Where the data section starts.
  package var dataStart: Int { bytes.count }
}
