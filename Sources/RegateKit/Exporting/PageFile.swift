// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
import Foundation
public import Reports

/// Where a page goes. Checked before any long work; written whole or not at all.
public struct PageFile: Sendable {
  /// Where the page goes.
  public let path: String
  private let overwrite: Bool

  /// Refuses a `path` that does not end in .html, whose folder is missing, or at which something
  /// other than a page of Regate stands, unless `overwrite` allows to replace that file.
  public init(_ path: String, overwrite: Bool = false) throws(RegateError) {
    self.path = path
    self.overwrite = overwrite
    // So that no slip of a path can replace a checkpoint's file.
    guard ["html", "htm"].contains(path.pathExtension.lowercased()) else {
      throw RegateError(
        .refused, file: path, subject: "`html`", "is no name for a page",
        advice: "let it end in .html")
    }
    let folder = path.directory
    guard FileKind(of: folder) == .directory else {
      throw RegateError(
        .missing, file: folder, "is no directory", advice: "make it, or choose another `html`")
    }
    try requireReplaceable()
  }

  /// Writes `page`, which takes its name when the whole file is on the disk. `spelled` puts a tool's
  /// own words for the fields that the page names in backquotes.
  public func write(
    _ page: Page, spelled: (String) -> String = { $0 }
  ) throws(RegateError) {
    try requireReplaceable()
    try AtomicFile.write(Array(spelled(page.render()).utf8), to: path, overwrite: true)
  }

  private func requireReplaceable() throws(RegateError) {
    guard let kind = FileKind(of: path) else { return }
    guard kind != .directory else {
      throw RegateError(
        .refused, file: path, "is a directory", advice: "choose another `html`")
    }
    guard overwrite || isPage else {
      throw RegateError(
        .refused, file: path, "exists already and is no page of Regate",
        advice: "choose another `html` or pass `overwrite`")
    }
  }

  /// Whether the file begins as every page does.
  private var isPage: Bool {
    let signature = Data(Page.signature.utf8)
    guard let handle = FileHandle(forReadingAtPath: path) else { return false }
    defer { try? handle.close() }
    return (try? handle.read(upToCount: signature.count)) == signature
  }
}
