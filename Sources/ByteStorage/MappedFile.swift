// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A read-only memory mapping of a whole file.
///
/// The mapping outlives renames and unlinks of its path. A file that another process truncates
/// while it is mapped raises SIGBUS: Regate never writes to a path that it has mapped.
public final class MappedFile: Sendable {
  public let path: String
  /// Size in bytes when the file was opened.
  public let count: Int
  /// Device and inode: two paths to one file compare equal.
  public let identity: FileIdentity

  private let descriptor: Int32
  private nonisolated(unsafe) let base: UnsafeRawPointer?

  /// Opens and maps `path`; symbolic links are followed (Hugging Face's cache is made of them).
  public init(path: String) throws(RegateError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("cannot be opened", path: path) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      close(descriptor)
      throw .system("cannot be examined", path: path)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      close(descriptor)
      throw RegateError(.io, file: path, "is not a regular file")
    }
    let count = Int(status.st_size)
    var base: UnsafeRawPointer?
    if count > 0 {
      let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
      guard address != MAP_FAILED else {
        close(descriptor)
        throw .system("cannot be mapped", path: path)
      }
      base = UnsafeRawPointer(address)
    }
    self.path = path
    self.count = count
    self.identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    self.descriptor = descriptor
    self.base = base
  }

  deinit {
    if let base { munmap(UnsafeMutableRawPointer(mutating: base), count) }
    close(descriptor)
  }

  /// Calls `body` with the bytes of `range`, which must lie inside the file.
  public func withBytes<R, E: Error>(
    in range: Range<Int>, _ body: (UnsafeRawBufferPointer) throws(E) -> R
  ) throws(E) -> R {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "byte range outside the mapped file")
    // SAFETY: the range was just checked against the mapping, which lives as long as self.
    let start = base.map { $0 + range.lowerBound }
    return try body(UnsafeRawBufferPointer(start: start, count: range.count))
  }

  /// A copy of the bytes of `range`, which must lie inside the file.
  public func bytes(in range: Range<Int>) -> [UInt8] {
    withBytes(in: range) { [UInt8]($0) }
  }

  /// Tells the kernel that the pages of `range` will not be needed again, so that resident memory
  /// stays bounded on a pass over a large file.
  public func discard(_ range: Range<Int>) {
    guard let base, !range.isEmpty else { return }
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = range.lowerBound / page * page
    madvise(
      UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, MADV_DONTNEED)
  }

  /// Runs `body` with the open descriptor, for in-kernel copies.
  package func withDescriptor<R, E: Error>(_ body: (Int32) throws(E) -> R) throws(E) -> R {
    try body(descriptor)
  }
}

/// Device and inode of a file.
public struct FileIdentity: Hashable, Sendable {
  public let device: UInt64
  public let inode: UInt64
}

extension RegateError {
  /// The current `errno` as an error about `path`. Call it before anything else can change `errno`.
  package static func system(_ what: String, path: String) -> RegateError {
    let number = errno
    return RegateError(.io, file: path, "\(what): \(String(cString: strerror(number)))")
  }
}
