// SPDX-License-Identifier: Apache-2.0

import Foundation

/// An existing file that is written over without changing its size.
///
/// A file that has a second name, by a hard link or a symbolic one, is somebody else's too: it is
/// refused.
package struct InPlaceFile: ~Copyable {
  package let path: String
  /// Size in bytes.
  package let count: Int
  private let descriptor: Int32

  /// Opens `path` for writing.
  package init(path: String) throws(RegateError) {
    try InPlaceFile.requireSingleName(path)
    let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw .system("cannot be opened for writing", path: path) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      close(descriptor)
      throw .system("cannot be examined", path: path)
    }
    self.path = path
    self.descriptor = descriptor
    count = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Refuses a file with several names, one that is reached through a symbolic link, and what is no
  /// regular file.
  package static func requireSingleName(_ path: String) throws(RegateError) {
    var part = path
    while part != "/", part != "." {
      var status = stat()
      guard unsafe lstat(part, &status) == 0 else {
        throw .system("cannot be examined", path: part)
      }
      let kind = FileKind(mode: status.st_mode)
      guard kind != .link else {
        throw refused(
          path, part == path ? "is a symbolic link" : "is reached through the symbolic link \(part)"
        )
      }
      if part == path {
        guard kind == .file else {
          throw RegateError(.refused, file: path, "is not a regular file")
        }
        guard status.st_nlink == 1 else {
          throw refused(path, "has \(status.st_nlink) names (hard links)")
        }
      }
      part = part.directory
    }
  }

  /// Refuses a file that the user may not write.
  package static func requireWritable(_ path: String) throws(RegateError) {
    guard unsafe access(path, W_OK) == 0 else { throw .system("cannot be written", path: path) }
    // The system lets root write all the same.
    var status = stat()
    guard unsafe stat(path, &status) == 0, status.st_mode & 0o222 != 0 else {
      throw RegateError(
        .refused, file: path, "is write-protected",
        advice: "allow writing (chmod u+w) if it may be changed, or write a copy with `output`")
    }
  }

  private static func refused(_ path: String, _ what: String) -> RegateError {
    RegateError(
      .refused, file: path, "\(what), so it may belong to others and is not written in place",
      advice: "give the checkpoint's own path, or write a copy with `output`")
  }

  /// Writes `bytes` over what stands at `position`.
  package func write(_ bytes: RawSpan, at position: Int) throws(RegateError) {
    precondition(position >= 0 && position + bytes.byteCount <= count)
    try descriptor.writeAll(bytes, at: position, path: path)
  }

  /// Forces everything to the disk.
  package func sync() throws(RegateError) {
    guard fsync(descriptor) == 0 else { throw .system("cannot be synced", path: path) }
  }
}

/// Removes files for good.
package enum Removal {
  /// Removes `path`, if it is there, and makes that durable.
  package static func remove(_ path: String) throws(RegateError) {
    guard unsafe unlink(path) == 0 || errno == ENOENT else {
      throw .system("cannot be removed", path: path)
    }
    let descriptor = unsafe open(path.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}
