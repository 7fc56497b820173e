// SPDX-License-Identifier: Apache-2.0
//
// Memory by whole pages, past the C library's heap. A heap that aligned blocks of a few megabytes
// are taken from and given back to for hours comes to hold half as much again in gaps between them.

import Foundation

/// Whole pages of memory, zeroed; to be given back with the same number of bytes.
package enum PageMemory {
  /// Pages that belong to the process; nil where the system gives no more.
  package static func take(_ bytes: Int) -> UnsafeMutableRawPointer? {
    let address = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0)
    return unsafe address == MAP_FAILED ? nil : address
  }

  /// Pages of a file that has no name any more, which the kernel writes out and takes back when
  /// memory is short; nil where the folder cannot hold it.
  package static func takeFromFile(
    _ bytes: Int, in folder: String = scratchFolder
  ) -> UnsafeMutableRawPointer? {
    var path = Array((folder + "/regate-XXXXXX").utf8CString)
    let descriptor = unsafe mkstemp(&path)
    guard descriptor >= 0 else { return nil }
    unsafe unlink(path)
    defer { close(descriptor) }
    // Room is taken beforehand: a page that finds none when it is written ends the process. Asked
    // for more than there is, a file system gives all of it first, and others find none meanwhile.
    guard Volume.freeBytes(near: folder) ?? .max >= bytes, reserve(bytes, descriptor) else {
      return nil
    }
    let address = unsafe mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    return unsafe address == MAP_FAILED ? nil : address
  }

  /// Pages of the process, or of a file where there are no more. Ends the program with code 1 and
  /// one line where there is room for neither: whoever asks is deep in work that cannot go on.
  package static func takeAnywhere(_ bytes: Int) -> UnsafeMutableRawPointer {
    if let pages = unsafe take(bytes) ?? takeFromFile(bytes) { return unsafe pages }
    let line =
      "regate: there is no memory for \(bytes) bytes, and no room for them in \(scratchFolder); "
      + "allow the process more memory, or take fewer tokens\n"
    FileHandle.standardError.write(Data(line.utf8))
    _exit(1)
  }

  /// Gives pages of either kind back.
  package static func giveBack(_ base: UnsafeMutableRawPointer, _ bytes: Int) {
    unsafe munmap(base, bytes)
  }

  /// TMPDIR, or the system's folder for large temporary files: `/tmp` often is memory.
  package static var scratchFolder: String {
    ProcessInfo.processInfo.environment["TMPDIR"] ?? "/var/tmp"
  }

  private static func reserve(_ bytes: Int, _ descriptor: Int32) -> Bool {
    #if os(Linux)
    return posix_fallocate(descriptor, 0, bytes) == 0
    #else
    var store = fstore_t(
      fst_flags: UInt32(F_ALLOCATEALL), fst_posmode: F_PEOFPOSMODE, fst_offset: 0,
      fst_length: off_t(bytes), fst_bytesalloc: 0)
    return unsafe fcntl(descriptor, F_PREALLOCATE, &store) == 0
      && ftruncate(descriptor, off_t(bytes)) == 0
    #endif
  }
}
