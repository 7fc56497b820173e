// SPDX-License-Identifier: Apache-2.0

/// An NPY file of version 1.0 with this dictionary and these data.
public func npyBytes(_ dictionary: String, data: [UInt8]) -> [UInt8] {
  [0x93] + Array("NUMPY".utf8) + [1, 0] + littleEndian(UInt16(dictionary.utf8.count))
    + Array(dictionary.utf8) + data
}

/// The dictionary of an NPY header.
public func npyDictionary(_ descr: String, _ shape: String, fortran: Bool = false) -> String {
  "{'descr': '\(descr)', 'fortran_order': \(fortran ? "True" : "False"), 'shape': \(shape), }\n"
}

/// CRC-32 (IEEE 802.3, reflected), bit by bit.
public func naiveCRC32(_ bytes: [UInt8]) -> UInt32 {
  var crc = UInt32.max
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
  }
  return ~crc
}

/// `bytes` as one final stored block of DEFLATE (RFC 1951, 3.2.4).
public func deflateStored(_ bytes: [UInt8]) -> [UInt8] {
  let count = UInt16(bytes.count)
  return [1] + littleEndian(count) + littleEndian(~count) + bytes
}

/// A gzip member that holds `bytes`.
public func gzipBytes(_ bytes: [UInt8]) -> [UInt8] {
  [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255] + deflateStored(bytes)
    + littleEndian(naiveCRC32(bytes)) + littleEndian(UInt32(bytes.count))
}

/// One member of a ZIP file; every field can be set to what it should not be.
public struct ZipMember {
  public var name: String
  /// Name in the local header.
  public var localName: String
  /// The data as they stand in the archive.
  public var data: [UInt8]
  public var method: UInt16
  public var flags: UInt16 = 0
  public var crc: UInt32
  public var size: UInt32
  public var compressedSize: UInt32
  /// Offset of the local header; nil for the true one.
  public var offset: UInt32?

  /// A member with right fields.
  public init(_ name: String, _ contents: [UInt8], deflated: Bool = false) {
    self.name = name
    localName = name
    data = deflated ? deflateStored(contents) : contents
    method = deflated ? 8 : 0
    crc = naiveCRC32(contents)
    size = UInt32(contents.count)
    compressedSize = UInt32(data.count)
  }

  /// This member after `change`.
  public func with(_ change: (inout ZipMember) -> Void) -> ZipMember {
    var copy = self
    change(&copy)
    return copy
  }

  fileprivate var local: [UInt8] {
    [0x50, 0x4B, 3, 4] + littleEndian(UInt16(20)) + littleEndian(flags) + littleEndian(method)
      + littleEndian(UInt32(0)) + littleEndian(crc) + littleEndian(compressedSize)
      + littleEndian(size) + littleEndian(UInt16(localName.utf8.count)) + littleEndian(UInt16(0))
      + Array(localName.utf8) + data
  }

  fileprivate func central(_ place: Int) -> [UInt8] {
    [0x50, 0x4B, 1, 2] + littleEndian(UInt32(20 << 16 | 20)) + littleEndian(flags)
      + littleEndian(method) + littleEndian(UInt32(0)) + littleEndian(crc)
      + littleEndian(compressedSize) + littleEndian(size)
      + littleEndian(UInt16(name.utf8.count)) + [UInt8](repeating: 0, count: 12)
      + littleEndian(offset ?? UInt32(place)) + Array(name.utf8)
  }
}

/// A ZIP file. The arguments replace the true values of its last record.
public func zipBytes(
  _ members: [ZipMember], entries: UInt16? = nil, directorySize: UInt32? = nil,
  directoryOffset: UInt32? = nil, comment: [UInt8] = [], before end: [UInt8] = []
) -> [UInt8] {
  var bytes: [UInt8] = []
  var directory: [UInt8] = []
  for member in members {
    directory += member.central(bytes.count)
    bytes += member.local
  }
  let start = UInt32(bytes.count)
  let count = littleEndian(entries ?? UInt16(members.count))
  return bytes + directory + end + [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + count + count
    + littleEndian(directorySize ?? UInt32(directory.count))
    + littleEndian(directoryOffset ?? start) + littleEndian(UInt16(comment.count)) + comment
}
