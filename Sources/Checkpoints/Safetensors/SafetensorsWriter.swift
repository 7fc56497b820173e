// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Foundation
package import OrderedCollections
package import Tensors

/// Writes safetensors files.
package enum SafetensorsWriter {
  /// A tensor with its bytes, row-major and little-endian.
  package struct Tensor: Sendable {
    package let name: String
    package let type: ElementType
    package let shape: [Int]
    package let bytes: [UInt8]

    package init(name: String, type: ElementType, shape: [Int], bytes: [UInt8]) {
      self.name = name
      self.type = type
      self.shape = shape
      self.bytes = bytes
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
      try file.write(sources[entry.name]?.bytes ?? [])
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
