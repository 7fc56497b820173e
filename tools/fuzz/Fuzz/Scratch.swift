// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Files in memory, of this process alone.
enum Scratch {
  static let folder: String = {
    let parent = ProcessInfo.processInfo.environment["FUZZ_SCRATCH"] ?? "/dev/shm"
    var template = Array("\(parent)/regate-fuzz-XXXXXX".utf8CString)
    guard template.withUnsafeMutableBufferPointer({ $0.baseAddress.flatMap { mkdtemp($0) } }) != nil
    else { fatalError("no folder in \(parent)") }
    atexit { try? FileManager.default.removeItem(atPath: Scratch.folder) }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }()

  /// Writes a file and returns its path. `size`: longer than the bytes, with zeros that take no
  /// memory until they are read.
  static func write(_ bytes: [UInt8], to name: String, size: Int = 0) -> String {
    let path = folder + "/" + name
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    precondition(descriptor >= 0, "cannot write \(path)")
    defer { close(descriptor) }
    let written = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
    precondition(written == bytes.count, "cannot fill \(path)")
    if size > bytes.count { precondition(ftruncate(descriptor, size) == 0) }
    return path
  }

  /// Makes a folder, and returns its path.
  static func folder(_ name: String) -> String {
    let path = folder + "/" + name
    mkdir(path, 0o700)
    return path
  }

  static func remove(_ name: String) { unlink(folder + "/" + name) }

  /// A file of the repository's fixtures.
  static func fixture(_ name: String) -> String {
    guard let fixtures = ProcessInfo.processInfo.environment["FUZZ_FIXTURES"] else {
      fatalError("FUZZ_FIXTURES is not set")
    }
    return fixtures + "/" + name
  }
}

extension [UInt8] {
  /// The bytes in parts, cut at every zero byte: several texts in one input.
  var parts: [[UInt8]] {
    split(separator: 0, omittingEmptySubsequences: false).map { [UInt8]($0) }
  }
}
