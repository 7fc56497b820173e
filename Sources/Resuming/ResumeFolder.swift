// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Checkpoints
import Foundation

extension OutputKind {
  /// The folder of a run's state: nothing is in it but files of the names that `ResumePoint` gives,
  /// and what a kill left of their making.
  package static let resumeFolder = OutputKind { folder in
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
      return "cannot be listed"
    }
    for name in names.sorted() {
      let kind = FileKind(of: folder + "/" + name, followingLinks: false)
      // Another run may have removed it by now.
      guard let kind, !isOwn(name, kind) else { continue }
      return "is in the way of the state that this run keeps: it holds \(name)"
    }
    return nil
  }

  private static func isOwn(_ name: String, _ kind: FileKind) -> Bool {
    if name.wholeMatch(of: /\.regate-[0-9]+-[0-9]+\.partial/) != nil { return kind == .directory }
    return kind == .file
      && ([ResumeState.fileName, ResumeState.partialName].contains(name)
        || name.wholeMatch(of: /hidden-[0-9]+\.bin/) != nil
        || name.wholeMatch(of: /layer-[0-9]+-[0-9]+\.safetensors/) != nil)
  }
}
