// SPDX-License-Identifier: Apache-2.0

package import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections

extension Manifest {
  /// The manifest of `model`, if that is an output of Regate itself; nil where none lies beside it.
  static func earlier(of model: Model) -> JSONValue? {
    let original = OutputDestination(besideOriginal: model, severalFiles: false)
    let path = original.folder + "/" + original.manifestName
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    guard let json = try? JSONValue(parsing: Array(text.utf8), file: path) else { return nil }
    return isManifest(json) ? json : nil
  }

  /// What makes the experts of `model` lie otherwise than its original's, so that counts of the
  /// original are not counts of it. nil where nothing beside it says so.
  package static func movedExperts(of model: Model) -> String? {
    var next = earlier(of: model)
    while let json = next {
      if json["options"]?["pruned_experts"] != nil { return "pruned experts" }
      let moved = (json["layers"]?.arrayValue ?? []).contains { layer in
        let map = (layer["physical_to_logical"]?.arrayValue ?? []).map(\.intValue)
        return map != map.indices.map { $0 }
      }
      if moved {
        return json["router"]?.stringValue == "unchanged" ? "renumbered experts" : "clones"
      }
      next = json["before"]
    }
    return nil
  }
}
