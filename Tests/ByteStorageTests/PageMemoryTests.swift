// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

@Suite("Memory by whole pages") struct PageMemoryTests {
  private func isUsable(_ base: UnsafeMutableRawPointer, _ bytes: Int) -> Bool {
    let values = UnsafeMutableRawBufferPointer(start: base, count: bytes)
    guard values.allSatisfy({ $0 == 0 }) else { return false }
    for index in values.indices { values[index] = UInt8(truncatingIfNeeded: index / 7) }
    return values.indices.allSatisfy { values[$0] == UInt8(truncatingIfNeeded: $0 / 7) }
  }

  @Test(arguments: [1, 4096, 100_001])
  func `pages are zero and hold what is written`(bytes: Int) throws {
    let memory = PageMemory.take(bytes)
    defer { PageMemory.giveBack(memory, bytes) }
    #expect(isUsable(memory, bytes))
    let folder = try TemporaryDirectory()
    let file = try #require(PageMemory.takeFromFile(bytes, in: folder.path("")))
    defer { PageMemory.giveBack(file, bytes) }
    #expect(isUsable(file, bytes))
    // The file has no name, so that nothing is left behind even by a kill.
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).isEmpty)
  }

  @Test func `a folder without room gives no pages`() throws {
    let folder = try TemporaryDirectory()
    #expect(PageMemory.takeFromFile(4096, in: folder.path("missing")) == nil)
    let free = try #require(Volume.freeBytes(near: folder.path("")))
    #expect(PageMemory.takeFromFile(free + 1 << 40, in: folder.path("")) == nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("")).isEmpty)
  }
}
