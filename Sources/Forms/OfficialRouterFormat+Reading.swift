// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
package import Routing
import Tensors

extension OfficialRouterFormat {
  /// Reads the router of a layer whose gate tensor is its encoder.
  package static func router(
    of layer: MoELayer, similarity: SimilarityKind, in checkpoint: any Checkpoint
  ) throws(RegateError) -> PrototypeRouter {
    let reader = Reader(
      checkpoint: checkpoint, prefix: String(layer.gate.name.dropLast(encoder.count)))
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
        weight: try reader.matrix(encoder, 2 * latent, hidden),
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
          advice: "its config.json belongs to another checkpoint, or was changed")
      }
      return try RouterValues.checked(
        checkpoint.floats(of: tensor), file: checkpoint.path, name: tensor.name)
    }
  }
}
