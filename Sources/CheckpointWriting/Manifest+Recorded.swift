// SPDX-License-Identifier: Apache-2.0

package import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections

extension Manifest {
  /// What makes a checkpoint's experts lie otherwise than its original's, so that counts of the
  /// original are not counts of it: what Regate recorded beside it. nil where nothing says so.
  package static func movedExperts(of model: Model) -> String? {
    let destination = OutputDestination(
      besideOriginal: model, severalFiles: model.checkpoint.files.count > 1)
    let path = destination.folder + "/" + destination.manifestName
    guard FileKind(of: path) == .file, let json = try? JSONValue(contentsOf: path) else {
      return nil
    }
    let moved = (json["layers"]?.arrayValue ?? []).contains { layer in
      let map = (layer["physical_to_logical"]?.arrayValue ?? []).map(\.intValue)
      return map != map.indices.map { $0 }
    }
    guard moved else { return nil }
    return json["router"]?.stringValue == "unchanged" ? "renumbered experts" : "clones"
  }
}
