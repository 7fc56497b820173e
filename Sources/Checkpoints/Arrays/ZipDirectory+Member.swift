// SPDX-License-Identifier: Apache-2.0

import ByteStorage

extension ZipDirectory {
  /// Reads one entry of the central directory, which begins at `end`, and finds its data.
  static func readMember(
    _ reader: inout ByteReader, _ file: MappedFile, end: Int
  ) throws(RegateError) -> Member {
    guard try reader.u32("central directory entry") == 0x0201_4B50 else {
      throw .zip(file, "no central directory entry at byte \(reader.offset - 4)")
    }
    try reader.skip(4, "central directory entry")
    let flags = try reader.u16("flags")
    let method = try reader.u16("method")
    try reader.skip(4, "date")
    let crc = try reader.read(UInt32.self, "CRC-32")
    var stored = try reader.u32("compressed size")
    var size = try reader.u32("size")
    let lengths = [
      try reader.u16("name length"), try reader.u16("extra length"),
      try reader.u16("comment length"),
    ]
    try reader.skip(8, "attributes")
    var offset = try reader.u32("offset")
    let nameBytes = try reader.readBytes(lengths[0], "member name")
    guard firstInvalidUTF8(in: nameBytes) == nil else {
      throw .zip(file, "a member's name is not valid UTF-8")
    }
    let name = String(decoding: nameBytes, as: UTF8.self)
    let extraEnd = reader.offset + lengths[1]
    try reader.skip(lengths[1] + lengths[2], "extra fields of \(name)")
    var extra = ByteReader(file, range: extraEnd - lengths[1]..<extraEnd)
    try readZIP64(&extra, &size, &stored, &offset)

    guard flags & 0x2041 == 0 else {
      throw RegateError(.unsupported, file: file.path, subject: name, "is encrypted")
    }
    guard method == 0 || method == 8 else {
      throw RegateError(
        .unsupported, file: file.path, subject: name,
        "is compressed by method \(method); only stored and deflated members can be read",
        advice: "write it with numpy.savez")
    }
    let start = try dataStart(file, name, nameBytes, at: offset, end: end)
    guard stored <= end - start else {
      throw RegateError(
        .malformed, file: file.path, subject: name,
        "its \(stored) bytes at byte \(start) reach past the central directory")
    }
    let member = Member(
      name: name, isDeflated: method == 8, crc: crc, size: size, data: start..<start + stored)
    try requireSize(of: member, file)
    return member
  }

  /// Replaces the values that did not fit 32 bits by those of the ZIP64 extra field.
  private static func readZIP64(
    _ extra: inout ByteReader, _ size: inout Int, _ stored: inout Int, _ offset: inout Int
  ) throws(RegateError) {
    let unset = 0xFFFF_FFFF
    while extra.remaining >= 4 {
      let id = try extra.u16("extra field")
      let count = try extra.u16("extra field")
      guard id == 1 else {
        try extra.skip(count, "extra field")
        continue
      }
      if size == unset { size = try extra.u64("ZIP64 size") }
      if stored == unset { stored = try extra.u64("ZIP64 compressed size") }
      if offset == unset { offset = try extra.u64("ZIP64 offset") }
      return
    }
  }

  /// Where the data of the member start whose local header is at `offset`.
  private static func dataStart(
    _ file: MappedFile, _ name: String, _ nameBytes: [UInt8], at offset: Int, end: Int
  ) throws(RegateError) -> Int {
    func problem(_ text: String) -> RegateError {
      RegateError(.malformed, file: file.path, subject: name, text)
    }
    guard offset <= end - 30 else { throw problem("its local header is outside the archive") }
    var local = ByteReader(file, range: offset..<end)
    guard try local.u32("local header") == 0x0403_4B50 else {
      throw problem("no local header at byte \(offset)")
    }
    try local.skip(22, "local header")
    let nameLength = try local.u16("name length")
    let extraLength = try local.u16("extra length")
    guard try local.readBytes(nameLength, "local name of \(name)") == nameBytes else {
      throw problem("its local header has another name")
    }
    try local.skip(extraLength, "local extra fields of \(name)")
    return local.offset
  }

  private static func requireSize(of member: Member, _ file: MappedFile) throws(RegateError) {
    let stored = member.data.count
    let possible =
      member.isDeflated
      ? member.size / Inflater.largestRatio <= stored : member.size == stored
    guard possible else {
      throw RegateError(
        .malformed, file: file.path, subject: member.name,
        "\(stored) stored bytes cannot hold the declared \(member.size)")
    }
  }
}
