// SPDX-License-Identifier: Apache-2.0

import CSystem
import Foundation
import TestSupport
import Testing

@Suite("Names that nothing has") struct RenameTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  /// A folder with as many files.
  private func make(_ name: String, files: Int) throws -> String {
    let path = folder.path(name)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    for file in 0..<files { _ = try folder.write([UInt8(file)], to: "\(name)/\(file)") }
    return path
  }

  @Test func `a free name is taken by files and folders`() throws {
    for from in [try folder.write([1], to: "file"), try make("folder", files: 1)] {
      #expect(unsafe regate_rename_new(from, folder.path("new")) == 0)
      #expect(!FileManager.default.fileExists(atPath: from))
      try FileManager.default.removeItem(atPath: folder.path("new"))
    }
  }

  @Test func `a name that something has keeps it`() throws {
    let (file, taken) = (try folder.write([1], to: "file"), try folder.write([2], to: "taken"))
    let from = try make("folder", files: 1)
    let before = try fileTree(folder.url)
    for (from, to) in [
      (file, taken), (from, try make("full", files: 2)), (from, try make("empty", files: 0)),
      (from, taken), (file, folder.path("full")),
    ] {
      #expect(unsafe regate_rename_new(from, to) != 0 && errno == EEXIST)
    }
    let after = try fileTree(folder.url).filter { entry in
      !["full/", "empty/"].contains { entry.key.hasPrefix($0) }
    }
    #expect(after == before)
  }
}
