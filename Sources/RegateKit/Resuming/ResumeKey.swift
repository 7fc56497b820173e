// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Crypto
import Foundation
import OrderedCollections

/// Everything that a run's result depends on, by name: a state serves a run with the same key only.
struct ResumeKey: Sendable, Hashable {
  private(set) var entries: OrderedDictionary<String, String>

  init(
    _ command: String, checkpoint: any Checkpoint, calibration: Calibration
  ) throws(RegateError) {
    entries = [
      "version": RegateVersion.current, "command": command,
      "checkpoint": ContentDigest.of(checkpoint), "calibration set": try calibration.digest(),
    ]
  }

  /// The value of an entry; setting it adds the entry.
  subscript(name: String) -> String? {
    get { entries[name] }
    set { entries[name] = newValue }
  }

  /// The key as it is saved.
  var json: JSONValue {
    .object(OrderedDictionary(uniqueKeysWithValues: entries.map { ($0.key, .string($0.value)) }))
  }

  /// What differs from a saved key, in words; nil if nothing does.
  func difference(from saved: JSONValue) -> String? {
    let names = Array(entries.keys) + (saved.objectValue?.keys.filter { entries[$0] == nil } ?? [])
    let parts = names.compactMap { name -> String? in
      let (old, new) = (saved[name]?.stringValue, entries[name])
      guard old != new else { return nil }
      // Digests say nothing to a reader.
      guard let old, let new, max(old.count, new.count) < 32 else { return "another \(name)" }
      return "\(name) \(old) instead of \(new)"
    }
    return parts.isEmpty ? nil : parts.joined(separator: ", ")
  }
}

extension Calibration {
  /// SHA-256 over the tokens, or over samples of the captures' files.
  func digest() throws(RegateError) -> String {
    switch self {
    case .tokens(let set):
      var hash = SHA256()
      for sequence in set.sequences {
        ContentDigest.update(&hash, [sequence.count] + sequence)
      }
      return ContentDigest.text(hash)
    case .captures(let captures): return ContentDigest.of(try captures.files())
    }
  }
}

/// Digests of big files by their size, their header and samples of the rest: enough to tell two
/// checkpoints apart without reading them.
enum ContentDigest {
  private static let blockBytes = 4096
  private static let blocks = 64

  static func of(_ checkpoint: any Checkpoint) -> String {
    var hash = SHA256()
    for (number, file) in checkpoint.files.enumerated() {
      let tensors = checkpoint.tensors.values.lazy.filter { $0.file == number }
      let header = tensors.map(\.range.lowerBound).min() ?? 0
      update(&hash, file, header: header)
    }
    if let config = checkpoint.config {
      hash.update(data: Data(config.serialised(.compact)))
    }
    return text(hash)
  }

  static func of(_ files: [MappedFile]) -> String {
    var hash = SHA256()
    for file in files { update(&hash, file, header: 0) }
    return text(hash)
  }

  static func update(_ hash: inout SHA256, _ numbers: [Int]) {
    let words = numbers.map { Int64($0).littleEndian }
    words.withBytes { hash.update($0) }
  }

  static func text(_ hash: SHA256) -> String {
    hash.finalize().map { String(format: "%02x", $0) }.joined()
  }

  private static func update(_ hash: inout SHA256, _ file: MappedFile, header: Int) {
    update(&hash, [file.count])
    file.withBytes(in: 0..<header) { hash.update($0) }
    let rest = file.count - header
    for block in 0..<blocks {
      let start = header + rest / blocks * block
      let range = start..<min(start + blockBytes, file.count)
      file.withBytes(in: range) { hash.update($0) }
    }
  }
}
