// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
public import OrderedCollections
import Reports

/// Where a changed checkpoint goes.
public enum Sink: Sendable, Hashable {
  /// A copy: a directory (safetensors) or a file. With `links`, files that do not differ from the
  /// original's become hard links to them.
  case copy(to: String, links: Bool = false)
  /// A file that holds only what changes; `DeltaApplication` makes the copy of it.
  case delta(to: String)
  /// The checkpoint's own files; `Reversion` takes it back.
  case inPlace

  /// The path of what is written; nil in place.
  package var path: String? {
    switch self {
    case .copy(let path, _), .delta(let path): path
    case .inPlace: nil
    }
  }
}

/// What was written.
public enum Written: Sendable {
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
          + "\(change.undo) (\(Format.bytes(change.undoBytes))) takes it back (regate revert)."
      ]
    }
  }

  /// The same as members of a report; those of other sinks are null.
  public var json: OrderedDictionary<String, JSONValue> {
    var members: OrderedDictionary<String, JSONValue> = [
      "written": .null, "delta_bytes": .null, "in_place": .null,
    ]
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
  public let files: [String]
  /// Bytes of the weight files.
  public let byteCount: Int
  public let identicalTensors: Int
  public let changedTensors: Int
  /// How many files came to their bytes in which way.
  public let methods: [OutputMethod: Int]
}

/// A change of a checkpoint's own files.
public struct InPlaceSummary: Sendable {
  public let files: [String]
  public let byteCount: Int
  /// The undo delta and its size; none is written where no file changes.
  public let undo: String
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
