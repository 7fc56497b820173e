// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// The bytes of one array: a range of a mapped file, or a member of an archive, which is checked
/// and inflated when it is first used.
final class ArrayStorage: Sendable {
  enum Source: Sendable {
    case plain(Range<Int>)
    case member(ZipDirectory.Member)
  }

  /// Members that would inflate to more are refused: they must be held in memory as a whole.
  static let inflatedLimit = 16 << 30

  let file: MappedFile
  let source: Source
  private let state = Locked(State())

  private struct State {
    var isChecked = false
    var inflated: [UInt8]?
  }

  init(_ file: MappedFile, _ source: Source) {
    self.file = file
    self.source = source
  }

  /// Bytes of the array's file: header and data, inflated.
  var count: Int {
    switch source {
    case .plain(let range): range.count
    case .member(let member): member.size
    }
  }

  /// The first bytes, at most `limit`, without reading the rest.
  func prefix(_ limit: Int) throws(RegateError) -> [UInt8] {
    let count = min(limit, count)
    switch source {
    case .plain(let range):
      return try file.bytes(in: range.lowerBound..<range.lowerBound + count)
    case .member(let member) where member.isDeflated:
      return try inflate(member, limit: count)
    case .member(let member):
      return try file.bytes(in: member.data.lowerBound..<member.data.lowerBound + count)
    }
  }

  /// Calls `body` with the bytes of `range`, counted from the first.
  func withBytes<R>(
    in range: Range<Int>, _ body: (RawSpan) throws(RegateError) -> R
  ) throws(RegateError) -> R {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    let start: Int
    switch source {
    case .plain(let whole): start = whole.lowerBound
    case .member(let member):
      if let inflated = try checked(member) {
        return try inflated.withBytes { (bytes) throws(RegateError) in
          try body(bytes.extracting(range))
        }
      }
      start = member.data.lowerBound
    }
    return try file.withBytes(in: start + range.lowerBound..<start + range.upperBound, body)
  }

  /// Says that the bytes of `range` will not be needed soon. Inflated members go as a whole.
  func discard(_ range: Range<Int>) {
    switch source {
    case .plain(let whole):
      file.discard(whole.lowerBound + range.lowerBound..<whole.lowerBound + range.upperBound)
    case .member(let member) where member.isDeflated:
      state.withLock { $0 = State() }
    case .member(let member):
      let start = member.data.lowerBound
      file.discard(start + range.lowerBound..<start + range.upperBound)
    }
  }

  /// Checks the member's CRC, once; the inflated bytes where it is deflated.
  private func checked(_ member: ZipDirectory.Member) throws(RegateError) -> [UInt8]? {
    try state.withLock { (state) throws(RegateError) in
      if state.isChecked { return state.inflated }
      if member.isDeflated {
        guard member.size <= ArrayStorage.inflatedLimit else {
          throw RegateError(
            .unsupported, file: file.path, subject: member.name,
            "inflates to \(member.size) bytes, more than \(ArrayStorage.inflatedLimit)",
            advice: "store it uncompressed, with numpy.savez")
        }
        let bytes = try inflate(member, limit: member.size)
        try require(bytes.withBytes { Checkpoints.crc32(of: $0) }, of: member)
        state.inflated = bytes
      } else {
        try require(try crc32(of: member.data), of: member)
      }
      state.isChecked = true
      return state.inflated
    }
  }

  /// CRC-32 of a range of the file, which may be larger than memory.
  private func crc32(of range: Range<Int>) throws(RegateError) -> UInt32 {
    let chunk = 8 << 20
    var crc: UInt32 = 0
    for start in stride(from: range.lowerBound, to: range.upperBound, by: chunk) {
      let part = start..<min(start + chunk, range.upperBound)
      crc = try file.withBytes(in: part) { Checkpoints.crc32(of: $0, after: crc) }
    }
    return crc
  }

  private func require(_ crc: UInt32, of member: ZipDirectory.Member) throws(RegateError) {
    guard crc == member.crc else {
      throw RegateError(
        .malformed, file: file.path, subject: member.name,
        "its CRC-32 is \(String(crc, radix: 16)), but the archive says "
          + String(member.crc, radix: 16),
        advice: "the file is damaged: fetch it again")
    }
  }

  /// The first `limit` bytes of a deflated member; where that is all of it, its exact size.
  private func inflate(
    _ member: ZipDirectory.Member, limit: Int
  ) throws(RegateError) -> [UInt8] {
    func problem(_ text: String) -> RegateError {
      RegateError(
        .malformed, file: file.path, subject: member.name, text,
        advice: "the file may be damaged: fetch it again")
    }
    var output: [UInt8] = []
    output.reserveCapacity(limit)
    let (taken, ended) = try file.withBytes(in: member.data) { (bytes) throws(RegateError) in
      do throws(Inflater.Failure) {
        return try Inflater(.raw).run(bytes, into: &output, limit: limit)
      } catch {
        throw problem(error.problem)
      }
    }
    if limit < member.size && !ended { return output }
    guard ended else { throw problem("inflates to more than declared") }
    guard output.count == member.size else {
      throw problem("inflates to \(output.count) bytes, but \(member.size) are declared")
    }
    guard taken == member.data.count else {
      throw problem("\(member.data.count - taken) bytes follow its compressed data")
    }
    return output
  }
}
