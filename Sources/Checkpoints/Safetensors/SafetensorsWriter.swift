// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
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

  /// Writes `tensors` to a file that takes the claimed name only when all of it is on the disk.
  /// They are written in the order of the header: `given` keeps the caller's.
  package static func write(
    _ tensors: [Tensor], metadata: OrderedDictionary<String, String>? = nil,
    order: SafetensorsHeader.Order = .official, to claim: OutputClaim
  ) throws(RegateError) {
    let header = try SafetensorsHeader(
      tensors.map { ($0.name, $0.type, $0.shape) }, metadata: metadata, order: order)
    let sources = Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, $0) })
    let opening = try header.serialised()
    try AtomicFile.write(to: claim) { (file) throws(RegateError) in
      try file.write(opening)
      for entry in header.entries {
        try file.write(sources[entry.name]?.bytes ?? [])
        let written = file.offset - opening.count - entry.range.lowerBound
        guard written == entry.range.count else {
          throw RegateError(
            .mismatch, file: claim.path, subject: entry.name,
            "\(entry.type.rawValue) \(entry.shape) needs \(entry.range.count) bytes, but "
              + "\(written) were made")
        }
      }
    }
  }
}
