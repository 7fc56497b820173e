// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
package import OrderedCollections
import Reports

/// Where a changed checkpoint goes.
public enum Sink: Sendable, Hashable {
  /// A copy: a directory (safetensors) or a file. With `links`, files that do not differ from the
  /// original's become hard links to them. `overwrite` replaces an output of Regate.
  case copy(to: String, links: Bool = false, overwrite: Bool = false)
  /// A file that holds only what changes; `DeltaApplication` makes the copy of it. `overwrite`
  /// replaces a file.
  case delta(to: String, overwrite: Bool = false)
  /// The checkpoint's own files; `Reversion` takes it back.
  case inPlace

  /// The path of what is written; nil in place.
  package var path: String? {
    switch self {
    case .copy(let path, _, _), .delta(let path, _): path
    case .inPlace: nil
    }
  }

  /// Whether something that stands there already is replaced.
  package var overwrites: Bool {
    switch self {
    case .copy(_, _, let overwrite), .delta(_, let overwrite): overwrite
    case .inPlace: false
    }
  }
}

/// What was written.
public enum Written: Sendable, JSONRepresentable {
  case copy(CopySummary)
  /// Bytes of the delta.
  case delta(byteCount: Int)
  case inPlace(InPlaceSummary)

  /// What came of it, in lines for a terminal.
  public var lines: [String] {
    switch self {
    case .copy(let copy):
      let ways = OutputMethod.allCases.compactMap { way in
        copy.methods[way].map { "\($0) \(way.rawValue.replacing("_", with: "-"))" }
      }
      return [
        "Wrote \(copy.files.count) files, \(Format.bytes(copy.byteCount)) of weights; verified: "
          + "\(Format.count(copy.identicalTensors)) tensors byte-identical, "
          + "\(Format.count(copy.changedTensors)) routers and expert tensors as planned.",
        "Files: \(ways.joined(separator: ", ")).",
      ]
    case .delta(let byteCount): return ["Wrote a delta of \(Format.bytes(byteCount))."]
    case .inPlace(let change):
      guard !change.files.isEmpty else { return ["Nothing changes: no file was written."] }
      return [
        "Changed \(Format.bytes(change.byteCount)) in place in \(change.files.count) files; "
          + "\(change.undo) (\(Format.bytes(change.undoBytes))) takes it back (`Reversion`)."
      ]
    }
  }

  /// The same as JSON; what is about other sinks is null.
  public var json: JSONValue { .object(members) }

  /// The members of a report about what was written, null where nothing was.
  package static func members(_ written: Written?) -> OrderedDictionary<String, JSONValue> {
    written?.members ?? ["written": .null, "delta_bytes": .null, "in_place": .null]
  }

  private var members: OrderedDictionary<String, JSONValue> {
    var members = Self.members(nil)
    switch self {
    case .copy(let copy):
      members["written"] = [
        "files": .array(copy.files.map { .string($0) }), "bytes": .integer(copy.byteCount),
        "identical_tensors": .integer(copy.identicalTensors),
        "changed_tensors": .integer(copy.changedTensors),
        "methods": .object(
          OrderedDictionary(
            uniqueKeysWithValues: OutputMethod.allCases.map {
              ($0.rawValue, .integer(copy.methods[$0] ?? 0))
            })),
      ]
    case .delta(let byteCount): members["delta_bytes"] = .integer(byteCount)
    case .inPlace(let change):
      members["in_place"] = [
        "bytes": .integer(change.byteCount),
        "undo": change.files.isEmpty ? .null : .string(change.undo),
        "undo_bytes": .integer(change.undoBytes),
      ]
    }
    return members
  }
}

/// A copy that was written and verified.
public struct CopySummary: Sendable {
  /// Names of the files that were written.
  public let files: [String]
  /// Bytes of the weight files.
  public let byteCount: Int
  /// Tensors that were verified to have the original's bytes.
  public let identicalTensors: Int
  /// Routers and expert tensors that were verified to be as planned.
  public let changedTensors: Int
  /// How many files came to their bytes in which way.
  public let methods: [OutputMethod: Int]
}

/// A change of a checkpoint's own files.
public struct InPlaceSummary: Sendable {
  /// Names of the files that were changed.
  public let files: [String]
  /// Bytes that were written.
  public let byteCount: Int
  /// Path of the undo delta; none is written where no file changes.
  public let undo: String
  /// Bytes of the undo delta.
  public let undoBytes: Int
}

/// How an output file came to its bytes.
public enum OutputMethod: String, Sendable, CaseIterable {
  /// A second name of the original's file.
  case linked = "hard_linked"
  /// Shares the original's blocks where it does not differ.
  case shared = "reflinked"
  case copied
}
