// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
import Foundation
public import Reports

/// Where a page goes. Checked before any long work; written whole or not at all.
public struct PageFile: Sendable {
  /// Where the page goes.
  public var path: String { claim.path }
  private let claim: OutputClaim

  /// Refuses a `path` that does not end in .html, whose folder is missing, that is one of the
  /// `inputs` or lies in the directory of one of the `checkpoints`, or at which something stands,
  /// unless that is a page of Regate and `overwrite` allows to replace it.
  public init(
    _ path: String, overwrite: Bool = false, checkpoints: [String] = [], inputs: [String] = []
  ) throws(RegateError) {
    guard ["html", "htm"].contains(path.pathExtension.lowercased()) else {
      throw RegateError(
        .refused, file: path, subject: "`html`", "is no name for a page",
        advice: "let it end in .html")
    }
    var read = RunInputs(inputs)
    for checkpoint in checkpoints { read.add(checkpoint, as: .checkpoint) }
    claim = try OutputClaim(path, as: .page, overwrite: overwrite, apartFrom: read)
  }

  /// Writes `page`, which takes its name when the whole file is on the disk. `spelled` puts a
  /// tool's own words for the fields that the page names in backquotes.
  public func write(
    _ page: Page, spelled: (String) -> String = { $0 }
  ) throws(RegateError) {
    try AtomicFile.write(Array(spelled(page.render()).utf8), to: claim)
  }
}

extension OutputKind {
  /// A file that begins as every page does.
  fileprivate static let page = OutputKind(file: "page") { path in
    let signature = Array(Page.signature.utf8)
    guard let file = try? MappedFile(path: path), file.count >= signature.count else {
      return false
    }
    return (try? file.bytes(in: 0..<signature.count)) == signature
  }
}
