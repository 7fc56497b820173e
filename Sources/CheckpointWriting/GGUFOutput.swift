// SPDX-License-Identifier: Apache-2.0
//
// The files of a patched GGUF checkpoint: every tensor keeps name, type, shape and place; the
// header gains provenance keys and enough padding that the data move by whole file system blocks.

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

  /// The changed ranges; no header is among them.
  package func inPlace() throws(RegateError) -> PatchSet {
    var bytes = PatchSet(files: checkpoint.files.count)
    for patch in patches {
      try patch.addExperts(to: &bytes, of: checkpoint, renaming: false)
      for change in patch.router.changes {
        guard let replacement = change.replacement, change.keepsLayout else {
          throw RegateError(
            .unsupported, file: checkpoint.path, subject: change.tensor.name,
            "is stored as \(change.tensor.type.rawValue); a selection bias must be F32 in a GGUF",
            advice: "convert the model to GGUF again with a current llama.cpp")
        }
        bytes.replace(change.tensor, by: .bytes(replacement.bytes))
      }
    }
    return bytes
  }

  /// The files of the model.
  package func files() throws(RegateError) -> [OutputFile] {
    let bytes = try inPlace()
    var files: [OutputFile] = []
    for (index, part) in checkpoint.parts.enumerated() {
      var header = GGUFHeader(part)
      if index == 0 {
        for (key, value) in provenance { header.metadata[key] = value }
      }
      try header.alignData(with: part.dataStart, file: part.file.path)
      let encoded = try header.encoded(file: part.file.path)
      var file = OutputFile(name: partName(index), segments: [.bytes(encoded.bytes)])
      file.append(
        bytes.segments(of: part.file, index: index, range: part.dataStart..<part.file.count))
      // The last tensor may end without padding; some readers want it.
      let tail = max(0, encoded.fileBytes - file.byteCount)
      file.append([.bytes([UInt8](repeating: 0, count: tail))])
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
