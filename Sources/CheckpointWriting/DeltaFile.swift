// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Checkpoints
import OrderedCollections

/// A delta on disk, mapped, with its whole header validated: every piece lies inside the file that
/// it is copied from, and the pieces of each file add up to its size.
package struct DeltaFile: Sendable {
  package let file: MappedFile
  package let delta: Delta
  /// Where the data section starts.
  package let dataStart: Int

  package init(path: String) throws(RegateError) {
    let file = try MappedFile(path: path)
    guard file.count >= 16, try file.bytes(in: 0..<8) == Delta.magic else {
      throw RegateError(
        .malformed, file: path, "is no delta of Regate",
        advice: "give a delta that a conversion wrote")
    }
    var reader = ByteReader(file)
    _ = try reader.readBytes(8, "magic")
    let length = try reader.read(UInt64.self, "header length")
    guard length <= UInt64(Delta.headerLimit) else {
      throw RegateError(
        .malformed, file: path, "announces a header of \(length) bytes, more than allowed")
    }
    let digest = try reader.readBytes(32, "header's hash")
    let bytes = try reader.readBytes(Int(length), "header")
    guard Delta.digest(bytes) == digest else {
      throw RegateError(
        .malformed, file: path, "its header does not have the SHA-256 that stands before it",
        advice: "the delta is damaged: make or fetch it again")
    }
    let origin = reader.offset - bytes.count
    dataStart = reader.offset
    let json = try JSONValue(parsing: bytes, file: path, origin: origin)
    let header = HeaderReader(path: path, dataCount: reader.remaining)
    delta = try header.delta(json)
    let stored = delta.storedBytes
    guard stored == header.dataCount else {
      throw RegateError(
        .malformed, file: path,
        "has \(header.dataCount) bytes of data, but its pieces end at \(stored)",
        advice: "the delta is damaged: make or fetch it again")
    }
    self.file = file
  }

  /// The contents of `file`, where `base` are the opened base files.
  package func segments(of file: Delta.File, base: [MappedFile?]) throws(RegateError) -> [Segment] {
    var segments: [Segment] = []
    for piece in file.pieces {
      switch piece {
      case .base(let index, let range):
        guard let source = base[index] else {
          throw RegateError(.missing, file: delta.base[index].name, "is not there")
        }
        segments.append(.range(source, range))
      case .data(let range):
        segments.append(
          .range(self.file, dataStart + range.lowerBound..<dataStart + range.upperBound))
      }
    }
    return segments
  }

  /// The base files that some piece is copied from.
  package var usedBases: Set<Int> {
    var used: Set<Int> = []
    for file in delta.files {
      for case .base(let index, _) in file.pieces { used.insert(index) }
    }
    return used
  }
}

/// Reads and checks the header's JSON.
private struct HeaderReader {
  let path: String
  let dataCount: Int

  func delta(_ json: JSONValue) throws(RegateError) -> Delta {
    guard let format = json["format"]?.stringValue, let kind = Delta.Kind(rawValue: format) else {
      throw RegateError(
        .unsupported, file: path, subject: "format",
        "is \(json["format"]?.stringValue ?? "missing"), expected \(Delta.Kind.conversion.rawValue)"
          + " or \(Delta.Kind.undo.rawValue)",
        advice: "use the version of Regate that wrote the delta")
    }
    var base: [Delta.Base] = []
    for entry in json["base"]?.arrayValue ?? [] {
      base.append(
        Delta.Base(
          name: try name(entry), byteCount: try count(entry, "bytes"), sha256: try digest(entry),
          part: try part(entry)))
    }
    var files: [Delta.File] = []
    for entry in json["files"]?.arrayValue ?? [] {
      let file = Delta.File(
        name: try name(entry), byteCount: try count(entry, "bytes"), sha256: try digest(entry),
        part: try part(entry), pieces: try pieces(entry, base))
      var total = 0
      for piece in file.pieces {
        let (sum, overflow) = total.addingReportingOverflow(piece.count)
        guard !overflow else { throw malformed(file.name, "its pieces are larger than any file") }
        total = sum
      }
      guard total == file.byteCount else {
        throw malformed(file.name, "its pieces have \(total) bytes, expected \(file.byteCount)")
      }
      files.append(file)
    }
    guard !base.isEmpty, !files.isEmpty else { throw malformed("files", "names no files") }
    guard Set(files.map(\.name)).count == files.count, Set(base.map(\.name)).count == base.count
    else { throw malformed("files", "names a file twice") }
    return Delta(kind: kind, about: json["about"] ?? .null, base: base, files: files)
  }

  private func pieces(
    _ entry: JSONValue, _ base: [Delta.Base]
  ) throws(RegateError) -> [Delta.Piece] {
    var result: [Delta.Piece] = []
    for piece in entry["pieces"]?.arrayValue ?? [] {
      let numbers = (piece.arrayValue ?? []).compactMap(\.intValue)
      guard numbers.count == piece.arrayValue?.count, numbers.allSatisfy({ $0 >= 0 }) else {
        throw malformed("pieces", "a piece is no list of whole numbers")
      }
      switch numbers.count {
      case 2:
        result.append(.data(try range(numbers[0], numbers[1], within: dataCount)))
      case 3:
        guard numbers[0] < base.count else {
          throw malformed("pieces", "name base file \(numbers[0]) of \(base.count)")
        }
        let limit = base[numbers[0]].byteCount
        result.append(.base(file: numbers[0], try range(numbers[1], numbers[2], within: limit)))
      default: throw malformed("pieces", "a piece has \(numbers.count) numbers, expected 2 or 3")
      }
    }
    return result
  }

  private func range(_ start: Int, _ count: Int, within limit: Int) throws(RegateError)
    -> Range<Int>
  {
    let (end, overflow) = start.addingReportingOverflow(count)
    guard !overflow, end <= limit else {
      throw malformed("pieces", "a piece ends beyond the \(limit) bytes that it is taken from")
    }
    return start..<end
  }

  private func name(_ entry: JSONValue) throws(RegateError) -> String {
    let name = entry["name"]?.stringValue ?? ""
    let words = name.split(separator: "/", omittingEmptySubsequences: false)
    guard !name.utf8.contains(0), words.allSatisfy({ !["", ".", ".."].contains($0) }) else {
      throw malformed("name", "\"\(name)\" is not a plain path inside a directory")
    }
    return name
  }

  private func count(_ entry: JSONValue, _ key: String) throws(RegateError) -> Int {
    guard let value = entry[key]?.intValue, value >= 0 else {
      throw malformed(key, "must be a whole number")
    }
    return value
  }

  private func part(_ entry: JSONValue) throws(RegateError) -> Int? {
    guard let value = entry["part"], !value.isNull else { return nil }
    guard let number = value.intValue, number >= 0 else {
      throw malformed("part", "must be a whole number or null")
    }
    return number
  }

  private func digest(_ entry: JSONValue) throws(RegateError) -> String {
    guard let text = entry["sha256"]?.stringValue, text.utf8.count == 64 else {
      throw malformed("sha256", "must have 64 hexadecimal digits")
    }
    return text
  }

  private func malformed(_ subject: String, _ problem: String) -> RegateError {
    RegateError(
      .malformed, file: path, subject: subject, problem, advice: "make or fetch the delta again")
  }
}
