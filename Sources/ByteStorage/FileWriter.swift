// SPDX-License-Identifier: Apache-2.0

import CSystem
import Foundation

/// Writes a new file from its first byte to its last: own bytes, and ranges of other files.
///
/// Ranges are copied inside the kernel (`copy_file_range`), which shares the blocks instead of
/// copying them where the file system can (btrfs, XFS) and the offsets agree modulo its block size.
package struct FileWriter: ~Copyable {
  package let path: String
  /// Bytes written so far.
  package private(set) var offset = 0
  private let descriptor: Int32

  /// Creates `path`, which must not exist.
  package init(creating path: String) throws(RegateError) {
    descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw .system("cannot be created", path: path) }
    self.path = path
  }

  /// Continues the file at `path`, of which the first `offset` bytes stand and the rest is dropped.
  package init(continuing path: String, at offset: Int) throws(RegateError) {
    descriptor = try FileWriter.reopen(path, cutAt: offset)
    self.path = path
    self.offset = offset
  }

  /// Continues the file at `path` behind its first `offset` bytes, over what stands there.
  package init(overwriting path: String, from offset: Int) throws(RegateError) {
    descriptor = try FileWriter.reopen(path)
    self.path = path
    self.offset = offset
  }

  private static func reopen(_ path: String) throws(RegateError) -> Int32 {
    let descriptor = unsafe open(path, O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot be opened for writing", path: path) }
    return descriptor
  }

  private static func reopen(_ path: String, cutAt offset: Int) throws(RegateError) -> Int32 {
    let descriptor = try reopen(path)
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, Int(status.st_size) >= offset else {
      close(descriptor)
      throw RegateError(
        .mismatch, file: path, "has \(status.st_size) bytes, expected \(offset) or more",
        advice: "start the run anew")
    }
    guard ftruncate(descriptor, off_t(offset)) == 0 else {
      let error = RegateError.system("cannot be cut off", path: path)
      close(descriptor)
      throw error
    }
    return descriptor
  }

  deinit { close(descriptor) }

  /// Has what would grow a file beyond the process's limit (`ulimit -f`) fail as on a full disk,
  /// where the signal would end the process. A setting of the whole process, so that it is the
  /// tool's to make and not the library's.
  package static func throwAtSizeLimit() { _ = signal(SIGXFSZ, SIG_IGN) }

  /// Makes the file, of which nothing may be written yet, share all blocks of `source`, where the
  /// file system can (btrfs, XFS). False, and nothing done, where it cannot.
  package mutating func clone(_ source: MappedFile) -> Bool {
    precondition(offset == 0)
    guard source.withDescriptor({ regate_clone_file($0, descriptor) }) == 0 else { return false }
    offset = source.count
    return true
  }

  /// Gives the file its final size; what is not written yet reads as zeros.
  package func extend(to count: Int) throws(RegateError) {
    guard ftruncate(descriptor, off_t(count)) == 0 else {
      throw .system("cannot be written", path: path)
    }
  }

  /// Appends `bytes`.
  package mutating func write(_ bytes: RawSpan) throws(RegateError) {
    try descriptor.writeAll(bytes, at: offset, path: path)
    offset += bytes.byteCount
  }

  /// Writes `bytes` over what stands at `position`.
  package func overwrite(_ bytes: RawSpan, at position: Int) throws(RegateError) {
    precondition(position >= 0 && position + bytes.byteCount <= offset)
    try descriptor.writeAll(bytes, at: position, path: path)
  }

  /// Appends `bytes`.
  package mutating func write(_ bytes: [UInt8]) throws(RegateError) {
    try bytes.withBytes { (bytes) throws(RegateError) in try write(bytes) }
  }

  /// Appends `values` as little-endian F32.
  package mutating func write(floats values: [Float]) throws(RegateError) {
    try values.withBytes { (bytes) throws(RegateError) in try write(bytes) }
  }

  /// Appends `range` of `source`.
  package mutating func copy(
    from source: MappedFile, range: Range<Int>
  ) throws(RegateError) {
    precondition(range.lowerBound >= 0 && range.upperBound <= source.count)
    var position = range.lowerBound
    while position < range.upperBound {
      let count = source.withDescriptor {
        regate_copy_range(
          $0, Int64(position), descriptor, Int64(offset), UInt64(range.upperBound - position))
      }
      if count < 0 && errno == EINTR { continue }
      // Across file systems, or where the kernel has no such call, the loop below takes over.
      if count < 0 && [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) { break }
      if count < 0 { throw .system("cannot be written", path: path) }
      if count == 0 { throw RegateError(.io, file: source.path, "became shorter while read") }
      position += count
      offset += count
    }
    let chunk = 8 << 20
    while position < range.upperBound {
      let part = position..<min(position + chunk, range.upperBound)
      try source.withBytes(in: part) { (bytes) throws(RegateError) in try write(bytes) }
      source.discard(part)
      position = part.upperBound
    }
  }

  /// Forces everything to the disk.
  package func sync() throws(RegateError) {
    guard fsync(descriptor) == 0 else { throw .system("cannot be synced", path: path) }
  }
}

extension Int32 {
  /// Writes all of `bytes` to the open file with this descriptor.
  func writeAll(
    _ bytes: RawSpan, at position: Int, path: String
  ) throws(RegateError) {
    var done = 0
    while done < bytes.byteCount {
      // SAFETY: `pwrite` reads the buffer of the rest, inside the call.
      let written = unsafe bytes.extracting(done..<bytes.byteCount).withUnsafeBytes {
        unsafe pwrite(self, $0.baseAddress, $0.count, off_t(position + done))
      }
      if written < 0 {
        if errno == EINTR { continue }
        throw .system("cannot be written", path: path)
      }
      done += written
    }
  }
}
