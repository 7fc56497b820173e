// SPDX-License-Identifier: Apache-2.0
//
// The files of a patched GGUF checkpoint: every tensor keeps name and order, its type but for a
// router's that is widened, and its shape but where experts are pruned; the header gains provenance
// keys and enough padding that the data before the first such tensor move by whole file system
// blocks.

import Architectures
package import ByteStorage
package import Checkpoints
import Forms
package import OrderedCollections
import Tensors

package struct GGUFOutput: CheckpointWriter {
  package let checkpoint: GGUFCheckpoint
  package let patches: [LayerPatch]
  /// Keys of the first file to set, in the `regate.` namespace; nil for those that go.
  package let provenance: OrderedDictionary<String, GGUFValue?>
  /// File name of the output; parts of a split model get their numbers from it.
  package let name: String

  private var routerChanges: [TensorChange] { patches.flatMap(\.router.changes) }

  /// Experts of each layer where some are pruned.
  private var expertCount: Int? { patches.first(where: \.isPruning)?.physicalToLogical.count }

  /// The ranges that change in tensors that keep their type; no header is among them.
  private func patchSet() throws(RegateError) -> PatchSet {
    var bytes = PatchSet(files: checkpoint.files.count)
    for patch in patches {
      try patch.addExperts(to: &bytes, of: checkpoint, renaming: false)
    }
    for change in routerChanges where change.keepsLayout {
      guard let replacement = change.replacement else { continue }
      bytes.replace(change.tensor, by: .bytes(replacement.bytes))
    }
    return bytes
  }

  /// The changed ranges where the files stay the same files: refused where a tensor must grow.
  package func inPlace() throws(RegateError) -> PatchSet {
    if let change = routerChanges.first(where: { !$0.keepsLayout }) {
      throw RegateError(
        .refused, file: checkpoint.path, subject: change.tensor.name,
        "is stored as \(change.tensor.type.rawValue) and must become F32, which needs a new file",
        advice: "write a copy or a delta instead of changing it in place")
    }
    return try patchSet()
  }

  /// The files of the model.
  package func files() throws(RegateError) -> [OutputFile] {
    let bytes = try patchSet()
    let relaid = RelaidTensors(patches, of: checkpoint)
    var files: [OutputFile] = []
    for (index, part) in checkpoint.parts.enumerated() {
      var header = GGUFHeader(part)
      if index == 0 {
        for (key, value) in provenance { header.metadata[key] = value }
        if let expertCount {
          header.metadata["\(checkpoint.architecture).\(ModelLayout.expertCountKey)"] = .uint32(
            UInt32(expertCount))
        }
      }
      for place in header.tensors.indices {
        guard let new = relaid.changed[header.tensors[place].name] else { continue }
        header.tensors[place].type = new.type
        header.tensors[place].shape = new.shape
      }
      try header.alignData(with: part.dataStart, file: part.file.path)
      let encoded = try header.encoded(file: part.file.path)
      var file = OutputFile(
        name: partName(index), head: encoded.bytes.count, segments: [.bytes(encoded.bytes)])
      if part.tensors.contains(where: { relaid.changed[$0.name] != nil }) {
        for (tensor, range) in zip(part.tensors, encoded.ranges) {
          file.pad(to: range.lowerBound)
          if let new = relaid.changed[tensor.name] {
            file.append(new.contents)
          } else {
            file.append(bytes.segments(of: part.file, index: index, range: tensor.range))
          }
        }
      } else {
        // What a damaged file goes on with after its tensors is left out.
        let end = part.file.count - part.trailingByteCount
        file.append(bytes.segments(of: part.file, index: index, range: part.dataStart..<end))
      }
      // The last tensor may end without padding; some readers want it.
      file.pad(to: encoded.fileBytes)
      files.append(file)
    }
    return files
  }

  /// A GGUF holds everything itself.
  package func sideFiles(_ own: OwnFiles) throws(RegateError) -> [OutputFile] { [] }

  package func open(in folder: String) throws(RegateError) -> any Checkpoint {
    try GGUFCheckpoint(path: folder + "/" + partName(0))
  }

  private func partName(_ index: Int) -> String {
    GGUFOutput.partName(index, of: checkpoint.parts.count, name: name)
  }

  /// Name of a part of an output called `name`.
  package static func partName(_ index: Int, of count: Int, name: String) -> String {
    guard count > 1 else { return name }
    let first = GGUFSplit.ending(0, of: count)
    let prefix = name.hasSuffix(first) ? String(name.dropLast(first.count)) : name.deletingExtension
    return prefix + GGUFSplit.ending(index, of: count)
  }
}

extension OutputFile {
  /// Appends zeros until the file has `count` bytes.
  fileprivate mutating func pad(to count: Int) {
    append([.bytes([UInt8](repeating: 0, count: max(0, count - byteCount)))])
  }
}
