// SPDX-License-Identifier: Apache-2.0

import TextTokens

extension Target {
  /// Text, or JSON in any of its layouts, by the first byte.
  static let documents = Target("documents") { bytes in
    let names = ["a.txt", "a.jsonl", "a.json", "a.jsonl.gz", "a"]
    let name = names[Int(bytes.first ?? 0) % names.count]
    var documents = try TextDocuments(path: Scratch.write([UInt8](bytes.dropFirst()), to: name))
    while try documents.next() != nil {}
    _ = documents.notes
  }
}
