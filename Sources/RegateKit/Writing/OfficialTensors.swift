// SPDX-License-Identifier: Apache-2.0
//
// The router's tensors in a checkpoint of the official LPR code, under the name of the gate's module
// (R = router_latent_dim):
//
//   norm.weight, norm.bias              [H]
//   encoder.weight, encoder.bias        [2R,H], [2R]   mean rows, then log-variance
//   out_proj.weight, out_proj.bias      [H,R], [H]     0: the experts read x + out_proj(context)
//   expert_keys                         [E,R]
//   ema_sums, ema_counts                [E,R], [E]     the keys and 0, as after its constructor
//   similarity_func.log_sigma           [R]            Mahalanobis
//   similarity_func.{q,k}_proj.{weight,bias}, .{q,k}_norm.weight   [R,R], [R], [R]  CrossAttention

import Architectures
import ByteStorage
import Checkpoints
import Routing
import Tensors

enum OfficialRouterFormat {
  private static let outProjection = "out_proj"

  /// The tensors of `router`, which takes the place of the gate named `gate`.
  static func tensors(
    of router: PrototypeRouter, gate: String
  ) throws(RegateError) -> [SafetensorsWriter.Tensor] {
    guard case .gaussian(let encoder) = router.encoder else {
      preconditionFailure("the official router has a Gaussian encoder")
    }
    let (hidden, latent) = (encoder.weight.columns, router.latentSize)
    let keys = router.logicalPrototypes
    let experts = router.experts
    var list: [(String, [Float], [Int])] = [
      ("norm.weight", encoder.normWeight, [hidden]), ("norm.bias", encoder.normBias, [hidden]),
      ("encoder.weight", encoder.weight.values, [2 * latent, hidden]),
      ("encoder.bias", encoder.bias, [2 * latent]),
      (
        "\(outProjection).weight", [Float](repeating: 0, count: hidden * latent), [hidden, latent]
      ),
      ("\(outProjection).bias", [Float](repeating: 0, count: hidden), [hidden]),
      ("expert_keys", keys.values, [experts, latent]),
      ("ema_sums", keys.values, [experts, latent]),
      ("ema_counts", [Float](repeating: 0, count: experts), [experts]),
    ]
    switch router.similarity {
    case .crossAttention(let attention):
      for (name, side) in [("q", attention.query), ("k", attention.key)] {
        list += [
          ("similarity_func.\(name)_proj.weight", side.weight.values, [latent, latent]),
          ("similarity_func.\(name)_proj.bias", side.bias, [latent]),
          ("similarity_func.\(name)_norm.weight", side.norm, [latent]),
        ]
      }
    default: preconditionFailure("official routers are fitted with cross-attention")
    }
    let prefix = PrototypeRouterFormat.prefix(of: gate)
    var tensors: [SafetensorsWriter.Tensor] = []
    for (name, values, shape) in list {
      tensors.append(
        SafetensorsWriter.Tensor(
          name: prefix + name, type: .f32, shape: shape,
          bytes: try TensorEncoder.encode(values, type: .f32)))
    }
    return tensors
  }

  /// Reads the router of a layer whose gate tensor is its encoder.
  static func router(
    of layer: MoELayer, similarity: PrototypeRouter.Similarity.Kind, in checkpoint: any Checkpoint
  ) throws(RegateError) -> PrototypeRouter {
    let suffix = "encoder.weight"
    let reader = Reader(
      checkpoint: checkpoint, prefix: String(layer.gate.name.dropLast(suffix.count)))
    let (hidden, latent) = (layer.hiddenSize, layer.gate.shape[0] / 2)
    for (name, shape) in [("weight", [hidden, latent]), ("bias", [hidden])] {
      let name = "\(outProjection).\(name)"
      guard try reader.floats(name, shape: shape).allSatisfy({ $0 == 0 }) else {
        throw RegateError(
          .unsupported, file: checkpoint.path, subject: reader.prefix + name,
          "is not 0: the experts of this checkpoint read more than the router's input",
          advice: "run checkpoints that were trained further in the official code")
      }
    }
    func side(_ name: String) throws(RegateError) -> CrossAttention.Side {
      CrossAttention.Side(
        weight: try reader.matrix("similarity_func.\(name)_proj.weight", latent, latent),
        bias: try reader.floats("similarity_func.\(name)_proj.bias", shape: [latent]),
        norm: try reader.floats("similarity_func.\(name)_norm.weight", shape: [latent]))
    }
    let measure: PrototypeRouter.Similarity =
      switch similarity {
      case .crossAttention: .crossAttention(.init(query: try side("q"), key: try side("k")))
      case .mahalanobis:
        .mahalanobis(logSigma: try reader.floats("similarity_func.log_sigma", shape: [latent]))
      case .gaussianKernel: .gaussianKernel
      default: .cosine
      }
    return PrototypeRouter(
      prototypes: try reader.matrix("expert_keys", layer.rule.experts, latent),
      encoder: GaussianEncoder(
        normWeight: try reader.floats("norm.weight", shape: [hidden]),
        normBias: try reader.floats("norm.bias", shape: [hidden]),
        weight: try reader.matrix(suffix, 2 * latent, hidden),
        bias: try reader.floats("encoder.bias", shape: [2 * latent])),
      similarity: measure, rule: layer.rule)
  }

  /// Tensors of one layer's router, checked for shape.
  private struct Reader: RouterTensorSource {
    let checkpoint: any Checkpoint
    let prefix: String

    func floats(_ name: String, shape: [Int]) throws(RegateError) -> [Float] {
      let tensor = try checkpoint.tensor(prefix + name)
      guard tensor.shape == shape else {
        throw RegateError(
          .mismatch, file: checkpoint.path, subject: tensor.name,
          "has shape \(tensor.shape), expected \(shape)",
          advice: "the checkpoint is damaged, or its config.json belongs to another one")
      }
      return try checkpoint.floats(of: tensor)
    }
  }
}
