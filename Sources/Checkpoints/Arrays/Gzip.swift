// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// The contents of a gzip file (RFC 1952), piece by piece: one or more members, one after the
/// other; zeros may follow the last.
package struct Gzip {
  /// What a gzip file begins with.
  package static let magic: [UInt8] = [0x1F, 0x8B]
  /// Largest piece, in bytes.
  private static let piece = 1 << 18

  private let file: MappedFile
  private var position = 0
  private var memberStart = 0
  private var inflater: Inflater?

  package init(_ file: MappedFile) throws(RegateError) {
    guard file.count > 0 else {
      throw RegateError(
        .malformed, file: file.path, "is empty", advice: "the file may be damaged: fetch it again")
    }
    guard file.count >= 2, try file.bytes(in: 0..<2) == Gzip.magic else {
      throw RegateError(
        .malformed, file: file.path, "does not begin as a gzip file",
        advice: "check that this is a .gz file")
    }
    self.file = file
  }

  /// The next piece, which is not empty, or nil after the last.
  package mutating func next() throws(RegateError) -> [UInt8]? {
    while position < file.count || inflater != nil {
      if inflater == nil {
        if try isPadding(from: position) { break }
        memberStart = position
      }
      let made = try inflate()
      if !made.isEmpty { return made }
    }
    return nil
  }

  /// Inflates up to one piece of the member at hand.
  private mutating func inflate() throws(RegateError) -> [UInt8] {
    let offered = position..<min(position + Gzip.piece, file.count)
    let inflater = try begunInflater()
    let step = try file.withBytes(in: offered) { (bytes) throws(RegateError) in
      do throws(Inflater.Failure) {
        return try inflater.step(bytes, from: 0, room: Gzip.piece)
      } catch {
        throw failure(error)
      }
    }
    guard step.ended || step.taken > 0 || !step.made.isEmpty else {
      throw failure(Inflater.Failure(problem: "the compressed data end too early"))
    }
    file.discard(position..<position + step.taken)
    position += step.taken
    if step.ended { self.inflater = nil }
    return step.made
  }

  private mutating func begunInflater() throws(RegateError) -> Inflater {
    if let inflater { return inflater }
    do throws(Inflater.Failure) {
      let begun = try Inflater(.gzip)
      inflater = begun
      return begun
    } catch {
      throw failure(error)
    }
  }

  private func failure(_ failure: Inflater.Failure) -> RegateError {
    RegateError(
      .malformed, file: file.path, subject: "member at byte \(memberStart)", failure.problem,
      advice: "the file may be damaged: fetch it again")
  }

  /// Whether only zeros follow, as on a tape; anything but them and a member is refused.
  private func isPadding(from start: Int) throws(RegateError) -> Bool {
    if start + 2 <= file.count, try file.bytes(in: start..<start + 2) == Gzip.magic { return false }
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
