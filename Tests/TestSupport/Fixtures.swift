// SPDX-License-Identifier: Apache-2.0

import ByteStorage
public import Foundation

/// The repository's `fixtures` folder, found from this file's place in it.
public let fixtures = URL(filePath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  .appending(path: "fixtures", directoryHint: .isDirectory)

/// A fresh directory that is removed when the value goes away. Tests run in parallel: each takes
/// its own.
public final class TemporaryDirectory: Sendable {
  public let url: URL

  /// With `untilExit`, the directory of a value that is never freed goes with the process.
  public init(untilExit: Bool = false) throws {
    url = FileManager.default.temporaryDirectory
      .appending(path: "regate-tests-\(UUID().uuidString)", directoryHint: .isDirectory)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    guard untilExit else { return }
    let url = url
    Self.leftovers.withLock { leftovers in
      if leftovers.isEmpty { atexit { TemporaryDirectory.removeLeftovers() } }
      leftovers.append(url)
    }
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  private static let leftovers = Locked<[URL]>([])

  private static func removeLeftovers() {
    leftovers.withLock { $0.forEach { try? FileManager.default.removeItem(at: $0) } }
  }

  /// The path of `name` in the directory.
  public func path(_ name: String) -> String {
    url.appending(path: name).path(percentEncoded: false)
  }

  /// Writes `bytes` to `name` and returns its path.
  @discardableResult
  public func write(_ bytes: [UInt8], to name: String) throws -> String {
    try Data(bytes).write(to: url.appending(path: name))
    return path(name)
  }
}
