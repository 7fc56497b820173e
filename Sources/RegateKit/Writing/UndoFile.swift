// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation

/// Where the undo delta of a change in place lies.
enum UndoFile {
  /// Its name in a checkpoint directory.
  static let directoryName = "regate-undo.delta"

  /// Its path for the checkpoint at `path`: in the directory, or beside the file.
  static func path(for path: String) -> String {
    let path = path.withoutTrailingSlashes
    if FileKind(of: path) == .directory { return path + "/" + directoryName }
    return path.deletingExtension + ".regate-undo.delta"
  }
}
