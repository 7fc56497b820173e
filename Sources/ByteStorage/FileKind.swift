// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What lies under a name.
package enum FileKind: Sendable {
  case file
  case directory
  case link
  case other

  /// nil where nothing has the name, or it leads nowhere. A link is `.link` only where links are not
  /// followed.
  package init?(of path: String, followingLinks: Bool = true) {
    var status = stat()
    // SAFETY: both calls fill the structure that they are given.
    guard unsafe (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else {
      return nil
    }
    self.init(mode: status.st_mode)
  }

  init(mode: mode_t) {
    self =
      switch mode & S_IFMT {
      case S_IFREG: .file
      case S_IFDIR: .directory
      case S_IFLNK: .link
      default: .other
      }
  }
}
