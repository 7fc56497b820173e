// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

@Suite("Memory by whole pages") struct PageMemoryTests {
  private func isUsable(_ base: UnsafeMutableRawPointer, _ bytes: Int) -> Bool {
    let values = unsafe UnsafeMutableRawBufferPointer(start: base, count: bytes)
    guard unsafe values.allSatisfy({ $0 == 0 }) else { return false }
    for index in values.indices { unsafe values[index] = UInt8(truncatingIfNeeded: index / 7) }
    return values.indices.allSatisfy { unsafe values[$0] == UInt8(truncatingIfNeeded: $0 / 7) }
  }

  @Test(arguments: [1, 4096, 100_001])
  func `pages are zero and hold what is written`(bytes: Int) throws {
    let memory = unsafe try #require(PageMemory.take(bytes))
    defer { unsafe PageMemory.giveBack(memory, bytes) }
    unsafe #expect(isUsable(memory, bytes))
    let folder = try TemporaryDirectory()
    let file = unsafe try #require(PageMemory.takeFromFile(bytes, in: folder.path("")))
    defer { unsafe PageMemory.giveBack(file, bytes) }
    unsafe #expect(isUsable(file, bytes))
    // The file has no name, so that nothing is left behind even by a kill.
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).isEmpty)
  }

  @Test func `pages that no system has are none`() {
    unsafe #expect(PageMemory.take(1 << 60) == nil)
  }

  @Test func `a folder without room gives no pages`() throws {
    let folder = try TemporaryDirectory()
    unsafe #expect(PageMemory.takeFromFile(4096, in: folder.path("missing")) == nil)
    let free = try #require(Volume.freeBytes(near: folder.path("")))
    unsafe #expect(PageMemory.takeFromFile(free + 1 << 40, in: folder.path("")) == nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).isEmpty)
  }
}
