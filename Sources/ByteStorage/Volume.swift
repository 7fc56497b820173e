// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Facts about files and the volumes that they lie on.
package enum Volume {
  /// Bytes that an ordinary user can still write in the volume of `path` or of its nearest
  /// existing parent.
  package static func freeBytes(near path: String) -> Int? {
    var folder = path
    var status = statvfs()
    while unsafe statvfs(folder, &status) != 0 {
      let parent = folder.directory
      guard parent != folder else { return nil }
      folder = parent
    }
    return Int(status.f_bavail) * Int(status.f_frsize)
  }

  /// Refuses to begin `what` of `byteCount` bytes where the volume of `path` has no room for it. A
  /// volume that tells nothing is taken to have it.
  package static func requireFree(
    _ byteCount: Int, near path: String, for what: String = "the output"
  ) throws(RegateError) {
    guard let free = freeBytes(near: path), free < byteCount else { return }
    throw RegateError(
      .io, file: path, "\(what) needs \(byteCount) bytes, but the volume has \(free) left",
      advice: "free some space or choose another volume")
  }

  /// Device and inode of what `path` leads to, links followed.
  package static func identity(of path: String) -> FileIdentity? {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { return nil }
    return FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
  }

  /// Identities of the folder that the name `path` stands in, of the one above, and so on.
  static func folders(above path: String) -> [FileIdentity] {
    var folder = path.directory.resolved
    var folders: [FileIdentity] = []
    while let identity = identity(of: folder) {
      folders.append(identity)
      guard folder != folder.directory, folder != "/" else { break }
      folder = folder.directory
    }
    return folders
  }

  /// Size of a regular file in bytes; nil for anything else, also for a link to one.
  package static func byteCount(of path: String) -> Int? {
    var status = stat()
    guard unsafe lstat(path, &status) == 0, FileKind(mode: status.st_mode) == .file else {
      return nil
    }
    return Int(status.st_size)
  }
}
