// SPDX-License-Identifier: Apache-2.0
//
// How outputs that are checkpoints, or go with one, are told from what is somebody else's: by the
// manifest that names each file with its size, or by what they begin with.

package import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections

extension OutputKind {
  /// A directory in which everything is as its manifest says, or that is empty.
  package static let checkpointDirectory = OutputKind { folder in
    guard let names = try? FileManager.default.subpathsOfDirectory(atPath: folder) else {
      return "cannot be listed"
    }
    let files = names.filter {
      FileKind(of: folder + "/" + $0, followingLinks: false) != .directory
    }
    guard !files.isEmpty else { return nil }
    guard let sizes = Manifest.sizes(at: folder + "/" + OutputDestination.manifestName) else {
      return "holds files that Regate did not write"
    }
    let stranger = files.sorted().first { name in
      guard let size = Volume.byteCount(of: folder + "/" + name) else { return true }
      return name != OutputDestination.manifestName && size != sizes[name]
    }
    return stranger.map { "holds \($0), which is no file that Regate wrote there" }
  }

  /// A weight file of the size that the `manifest` beside it gives for one.
  package static func checkpointFile(manifest: String) -> OutputKind {
    OutputKind(file: "output") { path in
      guard let size = Volume.byteCount(of: path) else { return false }
      return Manifest.sizes(at: path.directory + "/" + manifest)?.values.contains(size) ?? false
    }
  }

  /// A manifest, also one of a change in place.
  package static let manifest = OutputKind(file: "manifest") { path in
    (try? JSONValue(contentsOf: path)).map(Manifest.isManifest) ?? false
  }

  /// A delta that a conversion wrote. An undo delta is the way back to an original: never replaced.
  package static let delta = OutputKind(file: "delta") { path in
    (try? DeltaFile(path: path))?.delta.kind == .conversion
  }

  package static let adapter = OutputKind(file: "adapter") { path in
    guard let keys = (try? GGUFFile(path: path))?.metadata else { return false }
    return keys["general.type"]?.string == "adapter" && keys["regate.version"] != nil
  }
}

extension Manifest {
  /// Size of every file of the output that the manifest at `path` is about; nil where there is
  /// none, or one of a change in place: `regate revert` brings an original back from that.
  fileprivate static func sizes(at path: String) -> [String: Int]? {
    guard FileKind(of: path, followingLinks: false) == .file,
      let json = try? JSONValue(contentsOf: path), isManifest(json), json["undo"] == nil
    else { return nil }
    var sizes: [String: Int] = [:]
    for file in json["files"]?.arrayValue ?? [] {
      guard let name = file["name"]?.stringValue else { continue }
      sizes[name] = file["bytes"]?.intValue
    }
    return sizes
  }
}
