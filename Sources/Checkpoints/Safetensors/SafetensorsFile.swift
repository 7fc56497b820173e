// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import OrderedCollections
import Tensors

/// One safetensors file, mapped, with its whole header validated.
package struct SafetensorsFile: Sendable {
  package let file: MappedFile
  package let header: SafetensorsHeader
  /// Where the tensor data start.
  package let dataStart: Int
  /// The tensors in the order of their data.
  package let tensors: [TensorInfo]

  /// Opens `path`. `index` is this file's place among the checkpoint's files.
  package init(path: String, index: Int = 0) throws(RegateError) {
    let file = try MappedFile(path: path)
    try SafetensorsFile.refuseLFSPointer(file)
    var reader = ByteReader(file)
    let length = try reader.read(UInt64.self, "header length")
    guard length <= UInt64(SafetensorsHeader.sizeLimit) else {
      throw RegateError(
        .malformed, file: path,
        "announces a header of \(length) bytes, more than the \(SafetensorsHeader.sizeLimit) "
          + "that safetensors allows", advice: "check that this is a safetensors file")
    }
    let bytes = try reader.readBytes(Int(length), "header")
    dataStart = reader.offset
    header = try SafetensorsHeader(parsing: bytes, dataCount: reader.remaining, file: path)
    self.file = file
    let start = dataStart
    tensors = header.entries.map {
      TensorInfo(
        name: $0.name, type: $0.type, shape: $0.shape, file: index,
        range: start + $0.range.lowerBound..<start + $0.range.upperBound)
    }
  }

  /// `__metadata__` in its order; nil where the file has none.
  package var metadata: OrderedDictionary<String, String>? { header.metadata }

  /// The file's bytes up to the tensor data, length included.
  package var headerBytes: [UInt8] {
    get throws(RegateError) { try file.bytes(in: 0..<dataStart) }
  }

  /// A checkout without Git LFS has small text files in place of the shards.
  private static func refuseLFSPointer(_ file: MappedFile) throws(RegateError) {
    let mark = Array("version https://git-lfs.github.com/spec/".utf8)
    guard file.count >= mark.count, try file.bytes(in: 0..<mark.count) == mark else { return }
    throw RegateError(
      .missing, file: file.path, "is a Git LFS pointer, not the file itself",
      advice: "run git lfs pull, or fetch the checkpoint again")
  }
}
