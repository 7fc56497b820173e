// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import Crypto
import Foundation
package import OrderedCollections

/// Everything that a run's result depends on, by name: a state serves a run with the same key only.
package struct ResumeKey: Sendable, Hashable {
  package private(set) var entries: OrderedDictionary<String, String>

  /// `traffic` is a digest of the tokens or captures that the run reads.
  package init(_ command: String, checkpoint: any Checkpoint, traffic: String)
    throws(RegateError)
  {
    entries = [
      "version": RegateVersion.current, "command": command,
      "checkpoint": try ContentDigest.of(checkpoint), "calibration set": traffic,
    ]
  }

  /// A key that was kept elsewhere.
  package init(entries: OrderedDictionary<String, String>) { self.entries = entries }

  /// The value of an entry; setting it adds the entry.
  package subscript(name: String) -> String? {
    get { entries[name] }
    set { entries[name] = newValue }
  }

  /// The key as it is saved.
  package var json: JSONValue {
    .object(OrderedDictionary(uniqueKeysWithValues: entries.map { ($0.key, .string($0.value)) }))
  }

  /// What differs from a saved key, in words; nil if nothing does.
  package func difference(from saved: JSONValue) -> String? {
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
