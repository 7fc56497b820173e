// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// gzip files (RFC 1952): one or more members, one after the other; zeros may follow the last.
package enum Gzip {
  /// The format's length field has 32 bits; a calibration set has megabytes.
  package static let sizeLimit = Int(UInt32.max)

  /// The contents of the gzip file at `path`.
  package static func contents(
    of path: String, sizeLimit: Int = sizeLimit
  ) throws(RegateError) -> [UInt8] {
    let file = try MappedFile(path: path)
    guard file.count > 0 else {
      throw RegateError(
        .malformed, file: path, "is empty", advice: "the file may be damaged: fetch it again")
    }
    guard file.count >= 2, try file.bytes(in: 0..<2) == magic else {
      throw RegateError(
        .malformed, file: path, "does not begin as a gzip file",
        advice: "check that this is a .gz file")
    }
    var output: [UInt8] = []
    var start = 0
    while start < file.count {
      if try isPadding(file, from: start) { break }
      start += try member(of: file, at: start, into: &output, sizeLimit: sizeLimit)
    }
    file.discard(0..<file.count)
    return output
  }

  private static let magic: [UInt8] = [0x1F, 0x8B]

  /// Inflates one member and returns its length in the file.
  private static func member(
    of file: MappedFile, at start: Int, into output: inout [UInt8], sizeLimit: Int
  ) throws(RegateError) -> Int {
    let room = sizeLimit - output.count
    let (taken, ended) = try file.withBytes(in: start..<file.count) {
      (bytes) throws(RegateError) in
      do throws(Inflater.Failure) {
        return try Inflater(.gzip).run(bytes, into: &output, limit: room)
      } catch {
        throw RegateError(
          .malformed, file: file.path, subject: "member at byte \(start)", error.problem,
          advice: "the file may be damaged: fetch it again")
      }
    }
    if ended { return taken }
    throw RegateError(
      .unsupported, file: file.path, "inflates to more than \(sizeLimit) bytes",
      advice: "decompress it, and use a part of it")
  }

  /// Whether only zeros follow, as on a tape; anything but them and a member is refused.
  private static func isPadding(_ file: MappedFile, from start: Int) throws(RegateError) -> Bool {
    if start + 2 <= file.count, try file.bytes(in: start..<start + 2) == magic { return false }
    let padding = try file.withBytes(in: start..<file.count) { $0.isZero }
    guard padding else {
      throw RegateError(
        .malformed, file: file.path, subject: "byte \(start)",
        "something that is not gzip follows the compressed data",
        advice: "the file may be damaged: fetch it again")
    }
    return true
  }
}
