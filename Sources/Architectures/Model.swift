// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
package import Tensors

/// An opened checkpoint and what is in it.
package struct Model: Sendable {
  package let checkpoint: any Checkpoint
  package let layout: ModelLayout
  /// How exactly its weights are multiplied where it is run.
  package let precision: Precision

  package init(
    checkpoint: any Checkpoint, layout: ModelLayout, precision: Precision = .f32
  ) {
    self.checkpoint = checkpoint
    self.layout = layout
    self.precision = precision
  }

  /// Opens a Hugging Face directory, a `.safetensors` file with `config.json` beside it, or a
  /// `.gguf` file. Reads headers only. With `mtp`, layers of multi-token prediction are among its
  /// MoE layers.
  package static func open(
    _ path: String, mtp: Bool = false, precision: Precision = .f32
  ) throws(RegateError) -> Model {
    let checkpoint = try CheckpointFormat.open(path)
    return Model(
      checkpoint: checkpoint, layout: try ModelLayout.read(checkpoint, mtp: mtp),
      precision: precision)
  }

  /// `model` with its layers of multi-token prediction.
  package init(including model: Model) throws(RegateError) {
    self.init(
      checkpoint: model.checkpoint, layout: try ModelLayout.read(model.checkpoint, mtp: true),
      precision: model.precision)
  }

  /// What a user should know about the checkpoint before relying on it.
  package var warnings: [String] { checkpoint.warnings + layout.warnings }
}
