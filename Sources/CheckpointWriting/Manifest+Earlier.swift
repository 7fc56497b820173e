// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation

extension Manifest {
  /// The manifest of `model`, if that is an output of Regate itself; nil where none lies beside it.
  static func earlier(of model: Model) -> JSONValue? {
    let original = OutputDestination(besideOriginal: model, severalFiles: false)
    let name = original.manifestName
    // That of a split GGUF may be named after the whole.
    let part = GGUFSplit.ending(0, of: model.checkpoint.files.count).deletingExtension
    return [name, name.replacing(part + ".", with: ".")].lazy.compactMap {
      read(original.folder + "/" + $0)
    }.first
  }

  private static func read(_ path: String) -> JSONValue? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    let bytes = Array(text.utf8)
    return isManifest(bytes) ? try? JSONValue(parsing: bytes, file: path) : nil
  }
}
