// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
package import Routing
package import Tensors

/// What a checkpoint is, and where the parts of its MoE layers lie. Every statement was checked
/// against the checkpoint's actual tensors.
package struct ModelLayout: Sendable {
  package let family: Family
  package let container: Container
  /// H.
  package let hiddenSize: Int
  /// Model layers, dense ones included, multi-token-prediction layers not.
  package let layerCount: Int
  /// What all gated networks compute; nil where Regate does not, as `undecodable` says.
  package let activation: GatedActivation?
  /// The MoE layers, in order; last those of multi-token prediction, where they were asked for.
  package let layers: [MoELayer]
  /// Layers that choose experts by a table of token ids, which are left alone.
  package let tableLayers: [Int]
  /// Routers outside these layers (multi-token prediction), which are left alone.
  package let extraRouters: [ExtraRouter]
  /// What a user should know before relying on this file: where runtimes disagree about it.
  package let warnings: [String]
  /// The configuration that the layout follows from.
  package let settings: [Setting]
  /// The object of `config.json` that describes the language model, as it is written; nil for GGUF.
  package let config: JSONValue?
  /// What tensor names have before `layers.{n}.` (safetensors) or `blk.{n}.` (GGUF).
  package let prefix: String
  /// What the configuration says of quantised weights.
  package let quantisation: QuantisationScheme
  /// The form of Regate's prototype routers, if these are ones: each layer's `gate` is then the
  /// encoder [hidden size, latent size], or [hidden size, 2 x latent size] with log-variances.
  package let prototypeForm: LatentForm?
  /// Whether the routers are those of the official LPR code. `prototypeForm` is then their form,
  /// and each layer's `gate` the encoder [2 x latent size, hidden size].
  package let hasOfficialRouter: Bool
  /// Whether Regate computes what the experts do with their matrices.
  package let computesExperts: Bool
  /// Why the experts' matrices cannot be decoded, or used; nil if they can.
  package let undecodable: String?

  /// Whether the routers are prototype routers: Regate's prototype ones, or official ones.
  package var hasPrototypeRouter: Bool { prototypeForm != nil }

  /// Why one expert cannot be copied over another; nil if it can.
  package var unclonable: String? {
    guard let tensor = layers.lazy.compactMap(\.unplaced.first).first else { return nil }
    return "\(tensor.name) \(tensor.shape) belongs to the experts, but has no part for each of them"
  }

  /// Whether layers of multi-token prediction, which no pass over the model runs, are among
  /// `layers`.
  package var includesMTP: Bool { layers.last.map { $0.index >= layerCount } ?? false }

  /// Recognises the checkpoint's family, derives its MoE layers and verifies them. With
  /// `mtp`, layers of multi-token prediction are among them.
  package static func read(
    _ checkpoint: any Checkpoint, mtp: Bool = false
  ) throws(RegateError) -> ModelLayout {
    switch checkpoint.format {
    case .safetensors(let checkpoint):
      try LayoutReader(safetensors: checkpoint).read(mtp: mtp)
    case .gguf(let checkpoint):
      try LayoutReader(gguf: checkpoint).read(mtp: mtp)
    }
  }
}
