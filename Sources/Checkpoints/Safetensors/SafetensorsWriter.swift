// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Foundation
package import OrderedCollections
package import Tensors

/// Writes a safetensors file from tensors that are made one after the other, in constant memory.
package enum SafetensorsWriter {
  /// A tensor and what writes its bytes (row-major, little-endian).
  package struct Tensor {
    let name: String
    let type: ElementType
    let shape: [Int]
    let write: (inout FileWriter) throws(RegateError) -> Void

    /// A tensor whose bytes `write` appends, in as many pieces as it likes.
    package init(
      name: String, type: ElementType, shape: [Int],
      write: @escaping (inout FileWriter) throws(RegateError) -> Void
    ) {
      self.name = name
      self.type = type
      self.shape = shape
      self.write = write
    }

    /// A tensor of the given bytes.
    package init(name: String, type: ElementType, shape: [Int], bytes: [UInt8]) {
      self.init(name: name, type: type, shape: shape) { (file) throws(RegateError) in
        try file.write(bytes)
      }
    }
  }

  /// Writes `tensors` to `path`, which takes its name only when the whole file is on the disk.
  /// They are written in the order of the header: `given` keeps the caller's.
  package static func write(
    _ tensors: [Tensor], metadata: OrderedDictionary<String, String>? = nil,
    order: SafetensorsHeader.Order = .official, to path: String, overwrite: Bool = false
  ) throws(RegateError) {
    let header = try SafetensorsHeader(
      tensors.map { ($0.name, $0.type, $0.shape) }, metadata: metadata, order: order)
    let sources = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0) })
    let name = (path as NSString).lastPathComponent
    let folder = (path as NSString).deletingLastPathComponent
    let staged = try StagedOutput(
      destination: folder.isEmpty ? "." : folder, kind: .files([name]), overwrite: overwrite)
    var file = try FileWriter(creating: staged.path(name))
    try file.write(try header.serialised())
    let dataStart = file.offset
    for entry in header.entries {
      try sources[entry.name]?.write(&file)
      let written = file.offset - dataStart - entry.range.lowerBound
      guard written == entry.range.count else {
        throw RegateError(
          .mismatch, file: path, subject: entry.name,
          "\(entry.type.rawValue) \(entry.shape) needs \(entry.range.count) bytes, but \(written) "
            + "were made")
      }
    }
    try file.sync()
    try staged.commit()
  }
}
