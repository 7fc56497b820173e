// SPDX-License-Identifier: Apache-2.0
//
// ZIP (PKWARE APPNOTE 6.3.10), as far as numpy.savez and savez_compressed write it. Little-endian.
//
// 1. Members: "PK\3\4", u16 version, flags, method (0 stored, 8 deflated), time, date; u32 CRC-32,
//    compressed size, size; u16 name length, extra length; name; extra; data.
// 2. Central directory, one per member: "PK\1\2", u16 made by, version, flags, method, time, date;
//    u32 CRC-32, compressed size, size; u16 name length, extra length, comment length, disk,
//    attributes; u32 attributes, offset of (1); name; extra; comment.
//    Extra is a list of u16 id, u16 size, bytes. Id 1 (ZIP64) holds as u64 those of size,
//    compressed size and offset that are 0xFFFFFFFF.
// 3. ZIP64 only: "PK\6\6", u64 size, u16 made by, version, u32 disk, disk, u64 entries, entries,
//    size of (2), offset of (2); then "PK\6\7", u32 disk, u64 offset of "PK\6\6", u32 disks.
// 4. "PK\5\6", u16 disk, disk, entries, entries; u32 size of (2), offset of (2); u16 comment
//    length; comment, which ends the file.
//
// Sizes are taken from (2): in (1) they may be absent.

import ByteStorage

/// The members of a ZIP file.
struct ZipDirectory {
  struct Member {
    let name: String
    let isDeflated: Bool
    let crc: UInt32
    /// Size after inflating.
    let size: Int
    /// The member's data in the file, possibly compressed.
    let data: Range<Int>
  }

  let members: [Member]

  init(_ file: MappedFile) throws(RegateError) {
    let directory = try ZipDirectory.locate(file)
    var reader = ByteReader(file, range: directory.range)
    var members: [Member] = []
    var names: Set<String> = []
    for _ in 0..<directory.entries {
      let member = try ZipDirectory.readMember(&reader, file, end: directory.range.lowerBound)
      guard names.insert(member.name).inserted else {
        throw .zip(file, "the archive holds \"\(member.name)\" twice")
      }
      if !member.name.hasSuffix("/") { members.append(member) }
    }
    guard reader.remaining == 0 else {
      throw .zip(file, "the central directory has \(reader.remaining) bytes too many")
    }
    // Members that share data make an archive that inflates to any size.
    let ranges = members.map(\.data).sorted { $0.lowerBound < $1.lowerBound }
    for (left, right) in zip(ranges, ranges.dropFirst()) where right.lowerBound < left.upperBound {
      throw .zip(file, "two members overlap at byte \(right.lowerBound)")
    }
    self.members = members
  }

  // MARK: Central directory

  private static func locate(
    _ file: MappedFile
  ) throws(RegateError) -> (range: Range<Int>, entries: Int) {
    let start = try findEnd(file)
    var reader = ByteReader(file, range: start..<file.count)
    try reader.skip(4, "end of central directory")
    let disks = [try reader.u16("disk"), try reader.u16("disk")]
    var entries = try reader.u16("entries")
    let total = try reader.u16("entries")
    var size = try reader.u32("directory size")
    var offset = try reader.u32("directory offset")
    var end = start
    if let record = try readZIP64End(file, before: start) {
      (entries, size, offset, end) = record
    } else if entries == 0xFFFF || size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF {
      throw .zip(file, "the ZIP64 locator is not there")
    } else if disks != [0, 0] || entries != total {
      throw .zip(file, "the archive is split over several files")
    }
    guard offset <= end, size == end - offset else {
      throw .zip(
        file, "the central directory of \(size) bytes at byte \(offset) does not end at \(end)")
    }
    guard entries <= size / 46 else {
      throw .zip(file, "the central directory is too small for \(entries) members")
    }
    return (offset..<end, entries)
  }

  /// Offset of record (4), searched backwards over the comment that may follow it.
  private static func findEnd(_ file: MappedFile) throws(RegateError) -> Int {
    guard file.count >= 22 else { throw .zip(file, "is too short for a ZIP archive") }
    let longestComment = 0xFFFF
    let window = max(0, file.count - 22 - longestComment)..<file.count
    let bytes = try file.bytes(in: window)
    for start in stride(from: bytes.count - 22, through: 0, by: -1)
    where bytes[start..<start + 4].elementsEqual([0x50, 0x4B, 5, 6]) {
      let comment = Int(bytes[start + 20]) | Int(bytes[start + 21]) << 8
      if start + 22 + comment == bytes.count { return window.lowerBound + start }
    }
    throw .zip(file, "the end of the archive is not there: no central directory")
  }

  /// Records (3), if they stand before (4), which begins at `end`.
  private static func readZIP64End(
    _ file: MappedFile, before end: Int
  ) throws(RegateError) -> (entries: Int, size: Int, offset: Int, start: Int)? {
    guard end >= 20 else { return nil }
    var locator = ByteReader(file, range: end - 20..<end)
    guard try locator.u32("ZIP64 locator") == 0x0706_4B50 else { return nil }
    try locator.skip(4, "ZIP64 locator")
    let start = try locator.u64("ZIP64 locator")
    guard start <= end - 20 - 56 else {
      throw .zip(file, "the ZIP64 locator points to byte \(start), outside the archive")
    }
    var record = ByteReader(file, range: start..<end - 20)
    guard try record.u32("ZIP64 record") == 0x0606_4B50 else {
      throw .zip(file, "the ZIP64 record is not at byte \(start)")
    }
    try record.skip(28, "ZIP64 record")
    let entries = try record.u64("ZIP64 entries")
    let size = try record.u64("ZIP64 directory size")
    return (entries, size, try record.u64("ZIP64 directory offset"), start)
  }
}

extension RegateError {
  /// An error about the structure of a ZIP file.
  static func zip(_ file: MappedFile, _ problem: String) -> RegateError {
    RegateError(
      .malformed, file: file.path, problem, advice: "the file may be damaged: fetch it again")
  }
}

extension ByteReader {
  mutating func u16(_ what: String) throws(RegateError) -> Int {
    Int(try read(UInt16.self, what))
  }

  mutating func u32(_ what: String) throws(RegateError) -> Int {
    Int(try read(UInt32.self, what))
  }

  /// A 64-bit count, which must fit Int.
  mutating func u64(_ what: String) throws(RegateError) -> Int {
    let value = try read(UInt64.self, what)
    guard let count = Int(exactly: value) else {
      throw RegateError(.malformed, file: file.path, subject: what, "\(value) is out of range")
    }
    return count
  }
}
