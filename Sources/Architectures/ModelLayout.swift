// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
public import Checkpoints
public import Routing

/// What a checkpoint is, and where the parts of its MoE layers lie. Every statement was checked
/// against the checkpoint's actual tensors.
public struct ModelLayout: Sendable {
  public let family: Family
  public let container: Container
  /// H.
  public let hiddenSize: Int
  /// Model layers, dense ones included, multi-token-prediction layers not.
  public let layerCount: Int
  /// The MoE layers, in order; last those of multi-token prediction, where they were asked for.
  public let layers: [MoELayer]
  /// Routers outside these layers (multi-token prediction), which are left alone.
  public let extraRouters: [ExtraRouter]
  /// What a user should know before relying on this file: where runtimes disagree about it.
  public let warnings: [String]
  /// The configuration that the layout follows from.
  public let settings: [Setting]
  /// What tensor names have before `layers.{n}.` (safetensors) or `blk.{n}.` (GGUF).
  public let prefix: String
  /// Rows and columns per scale of block-scaled FP8 weights.
  public let scaleBlock: ScaleBlock?
  /// The form of Regate's prototype routers, if these are ones: each layer's `gate` is then the
  /// encoder [hidden size, latent size], or [hidden size, 2 x latent size] with log-variances.
  public let prototypeForm: PrototypeRouter.LatentForm?
  /// Whether the routers are those of the official LPR code. `prototypeForm` is then their form, and
  /// each layer's `gate` the encoder [2 x latent size, hidden size].
  public let hasOfficialRouter: Bool
  /// Why the experts' matrices cannot be decoded; nil if they can.
  public let undecodable: String?

  public var tier: Family.Tier { family.tier }

  /// Whether the routers are prototype routers: Regate's prototype ones, or official ones.
  public var hasPrototypeRouter: Bool { prototypeForm != nil }

  /// Why one expert cannot be copied over another; nil if it can.
  public var unclonable: String? {
    guard let tensor = layers.lazy.compactMap(\.unplaced.first).first else { return nil }
    return "\(tensor.name) \(tensor.shape) belongs to the experts, but has no part for each of them"
  }

  /// Rows and columns of a weight that share one scale.
  public struct ScaleBlock: Sendable, Hashable {
    public let rows: Int
    public let columns: Int
  }

  /// Whether layers of multi-token prediction, which no pass over the model runs, are among
  /// `layers`.
  public var includesMTP: Bool { layers.last.map { $0.index >= layerCount } ?? false }

  /// Recognises the checkpoint's family, derives its MoE layers and verifies them. With
  /// `mtp`, layers of multi-token prediction are among them.
  public static func read(
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
