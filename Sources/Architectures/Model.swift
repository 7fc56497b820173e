// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints

/// An opened checkpoint and what is in it.
package struct Model: Sendable {
  package let checkpoint: any Checkpoint
  package let layout: ModelLayout

  package init(checkpoint: any Checkpoint, layout: ModelLayout) {
    self.checkpoint = checkpoint
    self.layout = layout
  }

  /// Opens a Hugging Face directory, a `.safetensors` file with `config.json` beside it, or a
  /// `.gguf` file. Reads headers only. With `mtp`, layers of multi-token prediction are among its
  /// MoE layers.
  package static func open(_ path: String, mtp: Bool = false) throws(RegateError) -> Model {
    let checkpoint = try CheckpointFormat.open(path)
    return Model(checkpoint: checkpoint, layout: try ModelLayout.read(checkpoint, mtp: mtp))
  }

  /// `model` with its layers of multi-token prediction.
  package init(including model: Model) throws(RegateError) {
    self.init(
      checkpoint: model.checkpoint, layout: try ModelLayout.read(model.checkpoint, mtp: true))
  }

  /// What a user should know about the checkpoint before relying on it.
  package var warnings: [String] { checkpoint.warnings + layout.warnings }
}
