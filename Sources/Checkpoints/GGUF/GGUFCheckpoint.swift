// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import OrderedCollections

/// A GGUF model, in one file or split over several by llama.cpp's `gguf-split`.
///
/// The parts of a split model are named `<prefix>-00001-of-00003.gguf` and so on, and carry
/// `split.no` (from 0), `split.count` and `split.tensors.count` (over all parts). All other
/// metadata stand in the first part, which may hold no tensors.
package struct GGUFCheckpoint: Checkpoint {
  /// The path that was opened.
  package let path: String
  /// The files in part order; a single one where the model is not split.
  package let parts: [GGUFFile]
  /// Every tensor of all parts, by part and then by offset.
  package let tensors: OrderedDictionary<String, TensorInfo>
  /// `general.architecture`.
  package let architecture: String

  /// GGUF.
  package var container: Container { .gguf }
  package var format: CheckpointFormat { .gguf(self) }
  /// The folder of the first part.
  package var directory: String { files[0].path.directory }
  package var fileNames: [String] { files.map(\.path.lastPathComponent) }
  /// GGUF keeps its configuration in the header.
  package var config: JSONValue? { nil }
  package var warnings: [String] {
    parts.filter { $0.trailingByteCount > 0 }.map {
      "\($0.file.path) goes on for \($0.trailingByteCount) bytes after its last tensor, which are "
        + "ignored, and not copied: if you did not expect that, fetch it again"
    }
  }
  /// The mapped files of the parts.
  package var files: [MappedFile] { parts.map(\.file) }
  /// The metadata of the first part.
  package var metadata: OrderedDictionary<String, GGUFValue> { parts[0].metadata }
  /// The alignment of the first part; others may differ.
  package var alignment: Int { parts[0].alignment }
  /// The format version of the first part.
  package var version: UInt32 { parts[0].version }

  /// Opens the model of which `path` is the file or any one part.
  package init(path: String) throws(RegateError) {
    self.path = path
    let opened = try GGUFFile(path: path)
    let split = try GGUFSplit(opened)
    parts = if let split { try split.parts(including: opened) } else { [opened] }
    tensors = try GGUFCheckpoint.merge(parts)
    if let split { try split.checkTotal(tensors.count, path: path) }
    architecture = try GGUFCheckpoint.architecture(of: parts[0])
  }

  private static func merge(
    _ parts: [GGUFFile]
  ) throws(RegateError) -> OrderedDictionary<String, TensorInfo> {
    var tensors: OrderedDictionary<String, TensorInfo> = [:]
    tensors.reserveCapacity(parts.reduce(0) { $0 + $1.tensors.count })
    for part in parts {
      for tensor in part.tensors {
        if let earlier = tensors.updateValue(tensor, forKey: tensor.name) {
          throw RegateError(
            .malformed, file: part.file.path, subject: tensor.name,
            "the tensor is also in \(parts[earlier.file].file.path)")
        }
      }
    }
    return tensors
  }

  private static func architecture(of first: GGUFFile) throws(RegateError) -> String {
    if first.metadata["general.type"]?.string == "imatrix" {
      throw RegateError(
        .unsupported, file: first.file.path, "is an importance matrix, not a model",
        advice: "give it as `counts`")
    }
    let key = "general.architecture"
    guard let value = first.metadata[key] else {
      throw RegateError(
        .missing, file: first.file.path, subject: key, "the file does not name its architecture")
    }
    guard case .string(let name) = value, !name.isEmpty else {
      throw RegateError(
        .malformed, file: first.file.path, subject: key,
        "must be a string that is not empty; has type \(value.typeName)")
    }
    return name
  }
}
