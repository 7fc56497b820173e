// SPDX-License-Identifier: Apache-2.0

import CSystem
import Foundation

/// A file that is read: mapped as a whole, or range by range with plain reads (`FileAccess`).
///
/// It outlives renames and unlinks of its path. A file that another process makes shorter, or whose
/// device fails, while it is read is an error wherever its bytes are used.
@safe
package final class MappedFile: Sendable {
  package let path: String
  /// Size in bytes when the file was opened.
  package let count: Int
  /// Device and inode: two paths to one file compare equal.
  package let identity: FileIdentity

  private let descriptor: Int32
  private let modified: FileTime
  private let mapping: Mapping?
  private let largestRead: Int

  /// Opens `path`; symbolic links are followed (Hugging Face's cache is made of them).
  package init(path: String) throws(RegateError) {
    // A named pipe would wait for a writer.
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
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
    do throws(RegateError) {
      mapping = try FileAccess.current == .map && count > 0 ? Mapping(descriptor, count, path) : nil
    } catch {
      close(descriptor)
      throw error
    }
    self.path = path
    self.count = count
    identity = FileIdentity(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    modified = FileTime(status)
    largestRead = FileAccess.largestRead
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Calls `body` with the bytes of `range`, which must lie inside the file.
  package func withBytes<R>(
    in range: Range<Int>, _ body: (RawSpan) throws(RegateError) -> R
  ) throws(RegateError) -> R {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "byte range outside the file")
    guard let mapping else {
      return try read(range).withBytes { (bytes) throws(RegateError) in try body(bytes) }
    }
    let result = Result { () throws(RegateError) in try mapping.withBytes(in: range, body) }
    // What was made of bytes that were lost is worth nothing, an error about them included.
    if mapping.isLost { throw lost() }
    return try result.get()
  }

  /// A copy of the bytes of `range`, which must lie inside the file.
  package func bytes(in range: Range<Int>) throws(RegateError) -> [UInt8] {
    try withBytes(in: range) { [UInt8](copying: $0) }
  }

  /// The same by a plain read, for a few bytes here and there: around a page of a mapping the
  /// kernel reads the device's window, which may be megabytes: samples would read the whole file.
  package func sample(_ range: Range<Int>) throws(RegateError) -> [UInt8] {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= count, "byte range outside the file")
    return try read(range)
  }

  /// Where `byte` stands first, from `start` on; nil where it does not.
  package func firstOffset(of byte: UInt8, from start: Int) throws(RegateError) -> Int? {
    let chunk = 1 << 16
    for start in stride(from: start, to: count, by: chunk) {
      let part = start..<min(start + chunk, count)
      if let place = try withBytes(in: part, { $0.firstOffset(of: byte) }) { return start + place }
    }
    return nil
  }

  /// Tells the kernel that the pages of `range` will not be needed again, so that resident memory
  /// stays bounded on a pass over a large file.
  package func discard(_ range: Range<Int>, _ pages: PassedPages = .cached) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    mapping?.discard(range)
    #if os(Linux)
    guard pages == .dropped, !range.isEmpty else { return }
    posix_fadvise(
      descriptor, off_t(range.lowerBound), off_t(range.count), Int32(POSIX_FADV_DONTNEED))
    #endif
  }

  /// Has the kernel begin to read `range`, which will be needed soon.
  package func prefetch(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    #if os(Linux)
    // Of one call the kernel takes no more than the device's window of reading ahead.
    let chunk = 128 << 10
    for start in stride(from: range.lowerBound, to: range.upperBound, by: chunk) {
      posix_fadvise(
        descriptor, off_t(start), off_t(min(chunk, range.upperBound - start)),
        Int32(POSIX_FADV_WILLNEED))
    }
    #endif
  }

  /// Runs `body` with the open descriptor, for in-kernel copies.
  package func withDescriptor<R, E: Error>(_ body: (Int32) throws(E) -> R) throws(E) -> R {
    try body(descriptor)
  }

  /// Throws where something wrote to the file since it was opened.
  package func requireUnchanged() throws(RegateError) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw .system("cannot be examined", path: path)
    }
    guard Int(status.st_size) == count else { throw lost() }
    guard FileTime(status) == modified else {
      throw RegateError(
        .io, file: path, "was written to while it was read",
        advice: "let nothing change it, and run again")
    }
  }

  private func read(_ range: Range<Int>) throws(RegateError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    var done = 0
    while done < range.count {
      let wanted = min(range.count - done, largestRead)
      // SAFETY: `pread` writes at most `wanted` bytes, which the rest of the buffer has room for.
      let got = unsafe bytes.withUnsafeMutableBytes {
        unsafe pread(
          descriptor, $0.baseAddress.map { unsafe $0 + done }, wanted,
          off_t(range.lowerBound + done))
      }
      if got < 0 {
        if errno == EINTR { continue }
        throw .system("cannot be read", path: path)
      }
      guard got > 0 else { throw lost() }
      done += got
    }
    return bytes
  }

  private func lost() -> RegateError {
    var status = stat()
    let size = unsafe fstat(descriptor, &status) == 0 ? Int(status.st_size) : count
    return RegateError(
      .io, file: path,
      size < count
        ? "became shorter while it was read: \(size) bytes, \(count) at first"
        : "cannot be read any more: it was changed meanwhile, or its device failed",
      advice: "let nothing change it, and run again; on a network file system, with `io` read")
  }
}

/// The pages of a whole file, watched for those that get lost.
@safe
private final class Mapping: Sendable {
  // SAFETY: the mapping of `count` bytes, never written to, until `deinit`.
  private nonisolated(unsafe) let base: UnsafeRawPointer
  private let count: Int
  private let slot: Int32

  init(_ descriptor: Int32, _ count: Int, _ path: String) throws(RegateError) {
    let address = unsafe mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw .system("cannot be mapped", path: path)
    }
    let slot = unsafe regate_watch_mapping(address, UInt64(count))
    guard slot >= 0 else {
      unsafe munmap(address, count)
      throw RegateError(.io, file: path, "cannot be mapped: too many files are in use")
    }
    unsafe base = UnsafeRawPointer(address)
    self.count = count
    self.slot = slot
  }

  deinit {
    regate_unwatch_mapping(slot)
    // SAFETY: views of the bytes do not outlive `withBytes`, and this object lasts as long.
    unsafe munmap(UnsafeMutableRawPointer(mutating: base), count)
  }

  var isLost: Bool { regate_mapping_lost(slot) != 0 }

  func withBytes<R>(
    in range: Range<Int>, _ body: (RawSpan) throws(RegateError) -> R
  ) throws(RegateError) -> R {
    // SAFETY: the caller checked the range against the mapping, which lives as long as self.
    let bytes = unsafe UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    return try body(unsafe RawSpan(_unsafeBytes: bytes))
  }

  func discard(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    // SAFETY: the pages of the range, which lies inside, are the file's: they can be read again.
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let start = range.lowerBound / page * page
    unsafe madvise(
      UnsafeMutableRawPointer(mutating: base + start), range.upperBound - start, MADV_DONTNEED)
  }
}

/// Device and inode of a file.
package struct FileIdentity: Hashable, Sendable {
  package let device: UInt64
  package let inode: UInt64
}

/// When a file was last written to.
private struct FileTime: Hashable {
  let seconds: Int
  let nanoseconds: Int

  init(_ status: stat) {
    #if os(Linux)
    (seconds, nanoseconds) = (status.st_mtim.tv_sec, status.st_mtim.tv_nsec)
    #else
    (seconds, nanoseconds) = (status.st_mtimespec.tv_sec, status.st_mtimespec.tv_nsec)
    #endif
  }
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
