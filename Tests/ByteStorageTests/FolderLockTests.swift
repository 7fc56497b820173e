// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

@Suite("Folders that one run at a time works in") struct FolderLockTests {
  @Test func `a folder is locked until its lock is let go`() throws {
    let folder = try TemporaryDirectory()
    var first: FolderLock? = try FolderLock(folder.path(""))
    let error = #expect(throws: RegateError.self) { _ = try FolderLock(folder.path("")) }
    #expect(error?.code == .refused && error?.file == folder.path(""))
    #expect(first != nil)
    first = nil
    _ = try FolderLock(folder.path(""))
  }

  @Test func `a folder that was removed and made anew is another`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.path("work")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    let first = try FolderLock(path)
    try FileManager.default.removeItem(atPath: path)
    #expect(throws: RegateError.self) { _ = try FolderLock(path) }
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    _ = try FolderLock(path)
    withExtendedLifetime(first) {}
  }
}
