// SPDX-License-Identifier: Apache-2.0
//
// Paths as POSIX reads them: bytes between slashes. Not by way of Foundation's NSString, which
// traps on some relative paths of one character.

import Foundation

extension String {
  /// The last component of a path, without slashes after it; `/` for the root.
  package var lastPathComponent: String {
    let path = withoutTrailingSlashes
    guard let slash = path.lastSlash, path != "/" else { return path }
    return String(path[path.utf8.index(after: slash)...])
  }

  /// The folder of a path, `.` for a bare name.
  package var directory: String {
    let path = withoutTrailingSlashes
    guard let slash = path.lastSlash else { return "." }
    let folder = path[..<slash]
    return folder.isEmpty ? "/" : String(folder).withoutTrailingSlashes
  }

  /// A path as others begin with it; the root stays what it is.
  package var withoutTrailingSlashes: String {
    guard let last = utf8.lastIndex(where: { $0 != UInt8(ascii: "/") }) else {
      return isEmpty ? "" : "/"
    }
    return String(self[..<utf8.index(after: last)])
  }

  /// What follows the last dot of a path's last component; empty where nothing does, or where
  /// nothing but dots stands before it.
  package var pathExtension: String { extensionSplit.suffix }

  /// A path without the extension of its last component.
  package var deletingExtension: String { extensionSplit.rest }

  /// The path without links and dots of what is there; of anything else, the path as it is.
  var resolved: String {
    guard let path = unsafe realpath(self, nil) else { return self }
    // SAFETY: `realpath` gave a text that ends in 0 and is ours to free; it is copied first.
    defer { unsafe free(path) }
    return unsafe String(cString: path)
  }

  private var lastSlash: Index? { utf8.lastIndex(of: UInt8(ascii: "/")) }

  private var extensionSplit: (rest: String, suffix: String) {
    let path = withoutTrailingSlashes
    let start = path.lastSlash.map(path.utf8.index(after:)) ?? path.startIndex
    let period = UInt8(ascii: ".")
    guard let dot = path.utf8[start...].lastIndex(of: period),
      path.utf8[start..<dot].contains(where: { $0 != period })
    else { return (path, "") }
    let suffix = path[path.utf8.index(after: dot)...]
    return suffix.isEmpty ? (path, "") : (String(path[..<dot]), String(suffix))
  }
}
