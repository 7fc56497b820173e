// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What lies under a name.
package enum FileKind: String, Sendable {
  case file = "a file"
  case directory = "a directory"
  case link = "a symbolic link"
  case pipe = "a named pipe"
  case socket = "a socket"
  case characterDevice = "a character device"
  case blockDevice = "a block device"
  case other = "no regular file"

  /// nil where nothing has the name, or it leads nowhere. A link is `.link` only where links are
  /// not followed.
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
      case S_IFIFO: .pipe
      case S_IFSOCK: .socket
      case S_IFCHR: .characterDevice
      case S_IFBLK: .blockDevice
      default: .other
      }
  }
}
