// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation

/// Where the undo delta of a change in place lies.
package enum UndoFile {
  /// Its name in a checkpoint directory.
  package static let directoryName = "regate-undo.delta"

  /// Its path for the checkpoint at `path`: in the directory, or beside the file.
  package static func path(for path: String) -> String {
    let path = path.withoutTrailingSlashes
    if FileKind(of: path) == .directory { return path + "/" + directoryName }
    return path.deletingExtension + ".regate-undo.delta"
  }
}
