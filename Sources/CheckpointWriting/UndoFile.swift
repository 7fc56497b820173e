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

  /// Whether the undo delta of the checkpoint at `path` may name a file `name`: one of safetensors
  /// in a directory, or the file that was given, with its other parts. Whoever made the checkpoint
  /// may have made the undo delta, and all that lies beside.
  package static func mayName(_ name: String, of path: String) -> Bool {
    guard !name.contains("/") else { return false }
    let path = path.withoutTrailingSlashes
    guard FileKind(of: path) != .directory else { return name.hasSuffix(".safetensors") }
    let given = path.lastPathComponent
    return name == given
      || name.hasSuffix(".gguf") && GGUFSplit.stem(of: name) == GGUFSplit.stem(of: given)
  }
}
