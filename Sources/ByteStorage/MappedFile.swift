// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A read-only memory mapping of a whole file.
///
/// The mapping outlives renames and unlinks of its path. A file that another process truncates
/// while it is mapped raises SIGBUS: Regate never writes to a path that it has mapped.
@safe
package final class MappedFile: Sendable {
  package let path: String
  /// Size in bytes when the file was opened.
  package let count: Int
  /// Device and inode: two paths to one file compare equal.
  package let identity: FileIdentity

  private let descriptor: Int32
  // SAFETY: the mapping of `count` bytes, never written to, until `deinit`; nil where there are none.
  private nonisolated(unsafe) let base: UnsafeRawPointer?

  /// Opens and maps `path`; symbolic links are followed (Hugging Face's cache is made of them).
  package init(path: String) throws(RegateError) {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot be opened", path: path) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      close(descriptor)
      throw .system("cannot be examined", path: path)
    }
    guard FileKind(mode: status.st_mode) == .file else {
      close(descriptor)
      throw RegateError(.io, file: path, "is not a regular file")
    }
    let count = Int(status.st_size)
    var base: UnsafeRawPointer?
    if count > 0 {
      let address = unsafe mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
      guard unsafe address != MAP_FAILED else {
        close(descriptor)
        throw .system("cannot be mapped", path: path)
      }
      unsafe base = UnsafeRawPointer(address)
    }
    self.path = path
    self.count = count
    self.identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    self.descriptor = descriptor
    unsafe self.base = base
  }

  deinit {
    // SAFETY: views of the bytes do not outlive `withBytes`, and this object lasts as long.
    if let base = unsafe base { unsafe munmap(UnsafeMutableRawPointer(mutating: base), count) }
    close(descriptor)
  }

  /// Calls `body` with the bytes of `range`, which must lie inside the file.
  package func withBytes<R, E: Error>(
    in range: Range<Int>, _ body: (RawSpan) throws(E) -> R
  ) throws(E) -> R {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "byte range outside the mapped file")
    // SAFETY: the range was just checked against the mapping, which lives as long as self.
    let bytes = unsafe UnsafeRawBufferPointer(
      start: base.map { unsafe $0 + range.lowerBound }, count: range.count)
    return try body(unsafe RawSpan(_unsafeBytes: bytes))
  }

  /// A copy of the bytes of `range`, which must lie inside the file.
  package func bytes(in range: Range<Int>) -> [UInt8] {
    withBytes(in: range) { [UInt8](copying: $0) }
  }

  /// Tells the kernel that the pages of `range` will not be needed again, so that resident memory
  /// stays bounded on a pass over a large file.
  package func discard(_ range: Range<Int>) {
    guard let base = unsafe base, !range.isEmpty else { return }
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    // SAFETY: the pages of the range, which lies inside, are the file's: they can be read again.
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = range.lowerBound / page * page
    unsafe madvise(
      UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, MADV_DONTNEED)
  }

  /// Runs `body` with the open descriptor, for in-kernel copies.
  package func withDescriptor<R, E: Error>(_ body: (Int32) throws(E) -> R) throws(E) -> R {
    try body(descriptor)
  }
}

/// Device and inode of a file.
package struct FileIdentity: Hashable, Sendable {
  package let device: UInt64
  package let inode: UInt64
}

extension RegateError {
  /// The current `errno` as an error about `path`. Call it before anything else can change `errno`.
  package static func system(_ what: String, path: String) -> RegateError {
    let number = errno
    // SAFETY: `strerror` gives a text that ends in 0, which is copied.
    let reason = unsafe String(cString: strerror(number))
    return RegateError(.io, file: path, "\(what): \(reason)")
  }
}
