// SPDX-License-Identifier: Apache-2.0
//
// The router's tensors in a checkpoint of the official LPR code, under the name of the gate's
// module (R = router_latent_dim):
//
//   norm.weight, norm.bias              [H]
//   encoder.weight, encoder.bias        [2R,H], [2R]   mean rows, then log-variance
//   out_proj.weight, out_proj.bias      [H,R], [H]     0: the experts read x + out_proj(context)
//   expert_keys                         [E,R]
//   ema_sums, ema_counts                [E,R], [E]     the keys and 0, as after its constructor
//   similarity_func.log_sigma           [R]            Mahalanobis
//   similarity_func.{q,k}_proj.{weight,bias}, .{q,k}_norm.weight   [R,R], [R], [R]  CrossAttention

import Architectures
package import ByteStorage
package import Checkpoints
package import Routing
import Tensors

package enum OfficialRouterFormat {
  static let outProjection = "out_proj"

  /// The name of the encoder, which stands for the gate when such a checkpoint is read.
  static let encoder = "encoder.weight"

  /// The tensors beside the encoder `gate` that have one row for each physical expert.
  package static func rowsOfPhysicalExperts(gate: String) -> [String] {
    ["expert_keys", "ema_sums", "ema_counts"].map { gate.dropLast(encoder.count) + $0 }
  }

  /// The tensors of `router`, which takes the place of the gate named `gate`.
  package static func tensors(
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
      (Self.encoder, encoder.weight.values, [2 * latent, hidden]),
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
}
