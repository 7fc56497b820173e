// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import OrderedCollections
import Tensors

/// A checkpoint in safetensors: a Hugging Face directory, sharded or not, or a single file.
///
/// Opening it reads headers only, so that hundreds of gigabytes open in milliseconds.
package struct SafetensorsCheckpoint: Checkpoint {
  package let path: String
  package let container = Container.safetensors
  /// The shards, in the order of their names.
  package let parts: [SafetensorsFile]
  package let tensors: OrderedDictionary<String, TensorInfo>
  /// The directory that holds the files.
  package let directory: String
  /// File names of `parts`, relative to `directory`.
  package let partNames: [String]
  /// `config.json` beside the tensors, if it is there.
  package let config: JSONValue?
  /// The index, where the tensors were found by one.
  package let index: SafetensorsIndex?
  /// Paths, relative to `directory`, of the other files that belong to the model (tokenizer,
  /// configuration, model card): an output directory must hold the same bytes.
  package let sideFiles: [String]
  /// Paths, relative to `directory`, of weights that are no part of this checkpoint: second copies
  /// in other formats or shards that no index names. Beside patched weights they would be stale.
  package let otherWeights: [String]
  /// What is odd but not wrong, one line each.
  package let warnings: [String]

  package var files: [MappedFile] { parts.map(\.file) }
  package var format: CheckpointFormat { .safetensors(self) }
  package var fileNames: [String] { partNames }

  /// Opens the directory or `.safetensors` file at `path`.
  package init(path: String) throws(RegateError) {
    var layout = try CheckpointLayout(path: path)
    var parts: [SafetensorsFile] = []
    for name in layout.partNames {
      parts.append(try layout.open(name, index: parts.count))
    }
    tensors = try layout.collect(parts)
    config = try layout.readConfig()
    self.path = path
    self.parts = parts
    directory = layout.directory.isEmpty ? "." : layout.directory
    partNames = layout.partNames
    index = layout.index
    sideFiles = layout.sideFiles
    otherWeights = layout.otherWeights
    warnings =
      layout.warnings
      + (index?.disagreements(with: tensors, in: partNames) ?? [])
  }
}
