// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import OrderedCollections

/// How it is known what a runtime does, and of which versions.
public struct Evidence: Sendable, Hashable, CustomStringConvertible {
  /// How sure it is.
  public enum Kind: String, Sendable, CaseIterable {
    /// It was run, and what it did was seen or counted.
    case measured
    /// Its source was read, and it was not run.
    case read
    /// Others say so.
    case unverified
  }

  public let kind: Kind
  /// The versions that were run or read, oldest first; empty where none is known. What lies
  /// between them was not looked at.
  public let versions: [String]
  /// The script that shows it, the file that was read, or the thread that says so.
  public let source: String

  static func measured(_ source: String, in versions: String...) -> Evidence {
    measured(source, in: versions)
  }

  static func measured(_ source: String, in versions: [String]) -> Evidence {
    Evidence(kind: .measured, versions: versions, source: source)
  }

  static func read(_ source: String, in versions: String...) -> Evidence {
    Evidence(kind: .read, versions: versions, source: source)
  }

  static func unverified(_ source: String) -> Evidence {
    Evidence(kind: .unverified, versions: [], source: source)
  }

  public var description: String {
    let words =
      [kind.rawValue] + (versions.isEmpty ? [] : ["in", versions.joined(separator: ", ")])
    return words.joined(separator: " ") + ": \(source)"
  }
}

extension Evidence: JSONRepresentable {
  /// The evidence as one JSON object.
  public var json: JSONValue {
    [
      "kind": .string(kind.rawValue), "versions": .array(versions.map { .string($0) }),
      "source": .string(source),
    ]
  }
}

/// The versions of a runtime that a statement is about. One side at least is given.
public enum VersionRange: Sendable, Hashable, CustomStringConvertible {
  /// All that are older than this one.
  case before(String)
  /// This one and all newer ones, as far as they are known.
  case since(String)

  public var description: String {
    switch self {
    case .before(let version): "before \(version)"
    case .since(let version): "since \(version)"
    }
  }
}

extension VersionRange: JSONRepresentable {
  /// The range as one JSON object.
  public var json: JSONValue {
    switch self {
    case .before(let version): ["before": .string(version)]
    case .since(let version): ["since": .string(version)]
    }
  }
}
