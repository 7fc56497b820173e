// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation

extension ArrayContainer {
  /// Reads every value.
  fileprivate func exercise() throws {
    for array in arrays.values {
      if array.isFloatingPoint {
        _ = try array.floats(rows: 0..<array.rowCount)
      } else {
        _ = try array.integers()
      }
      try array.withBytes { precondition($0.byteCount >= 0) }
    }
  }
}

extension Target {
  static let npy = Target("npy") { bytes in
    try ArrayContainer.open(Scratch.write(bytes, to: "a.npy")).exercise()
  }

  static let npz = Target("npz") { bytes in
    try ArrayContainer.open(Scratch.write(bytes, to: "a.npz")).exercise()
  }

  /// A CRC-32, a size and deflated bytes, as they end and make up a gzip file: the member of an
  /// archive that is sound otherwise.
  static let zipMember = Target("zip-member") { bytes in
    guard bytes.count > 8 else { return }
    let compressed = [UInt8](bytes[8...])
    let crc = bytes[0..<4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    let size = bytes[4..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let archive = Archive.bytes(
      "a.npy", compressed, method: 8, size: size, crc: crc)
    try ArrayContainer.open(Scratch.write(archive, to: "m.npz")).exercise()
  }

  static let gzip = Target("gzip") { bytes in
    var gzip = try Gzip(MappedFile(path: Scratch.write(bytes, to: "a.gz")))
    var total = 0
    while let piece = try gzip.next(), total < 64 << 20 { total += piece.count }
  }

  static let torch = Target("torch") { bytes in
    guard let archive = try TorchArchive(path: Scratch.write(bytes, to: "a.pt")) else { return }
    for array in archive.tensors.values {
      if array.isFloatingPoint {
        _ = try array.floats(rows: 0..<array.rowCount)
      } else {
        _ = try array.integers()
      }
    }
  }

  /// The pickle of an archive that is sound otherwise.
  static let pickle = Target("pickle") { bytes in
    let archive = Archive.bytes("a/data.pkl", bytes, method: 0, size: bytes.count, crc: nil)
    guard let archive = try TorchArchive(path: Scratch.write(archive, to: "p.pt")) else { return }
    _ = archive.keys
  }
}

/// Archives of one member.
private enum Archive {
  static func bytes(
    _ name: String, _ data: [UInt8], method: UInt16, size: Int, crc: UInt32?
  ) -> [UInt8] {
    let crc = crc ?? crc32(data)
    let name = Array(name.utf8)
    let common =
      little(UInt16(0)) + little(method) + [UInt8](repeating: 0, count: 4) + little(crc)
      + little(UInt32(data.count)) + little(UInt32(truncatingIfNeeded: size))
      + little(UInt16(name.count)) + little(UInt16(0))
    let local = [0x50, 0x4B, 3, 4] + little(UInt16(20)) + common + name + data
    let central =
      [0x50, 0x4B, 1, 2] + little(UInt16(20)) + little(UInt16(20)) + common
      + [UInt8](repeating: 0, count: 14) + name
    return local + central + [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + little(UInt16(1)) + little(UInt16(1))
      + little(UInt32(central.count)) + little(UInt32(local.count)) + [0, 0]
  }

  private static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { value, _ in
      value & 1 == 0 ? value >> 1 : 0xEDB8_8320 ^ value >> 1
    }
  }

  private static func crc32(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { table[Int(($0 ^ UInt32($1)) & 0xFF)] ^ $0 >> 8 }
  }
}
