// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
package import Routing
import Tensors

extension PrototypeRouterFormat {
  /// Reads the prototype router of a layer whose gate tensor is its encoder.
  package static func router(
    of layer: MoELayer, form: LatentForm, in checkpoint: any Checkpoint
  ) throws(RegateError) -> PrototypeRouter {
    let experts = layer.rule.experts
    let reader = Reader(checkpoint: checkpoint, prefix: prefix(of: layer.gate.name))
    let (weight, latent) = try reader.encoder(form.encoder, hiddenSize: layer.hiddenSize)
    let logicals = try RouterValues.checkedMap(
      reader.integers(physicalToLogical, count: experts), rule: layer.rule,
      file: checkpoint.path, name: reader.prefix + physicalToLogical)
    let (similarity, scale) = try LatentFormTensors.similarity(
      form.similarity, experts: experts, latent: latent, from: reader)
    return PrototypeRouter(
      encoder: try LatentFormTensors.encoder(form.encoder, weight: weight, from: reader),
      similarity: similarity, similarityScale: scale,
      logicalPrototypes: try reader.matrix(logicalPrototypes, experts, latent),
      logitBias: try reader.floats(logitBias, shape: [experts]),
      selectionBias: try reader.floats(selectionBias, shape: [experts]),
      tokenBias: try reader.matrix(tokenBias, experts, latent).unlessZero,
      physicalToLogical: logicals,
      clonePrototypes: try reader.matrix(clonePrototypes, experts, latent),
      cloneBias: try reader.floats(cloneBias, shape: [experts]), rule: layer.rule)
  }

  /// Tensors of one layer's router, checked for type and shape.
  private struct Reader: RouterTensorSource {
    let checkpoint: any Checkpoint
    let prefix: String

    /// The encoder's matrix, outputs as rows, and the latent size R.
    func encoder(
      _ kind: EncoderKind, hiddenSize: Int
    ) throws(RegateError) -> (weight: Matrix, latent: Int) {
      let tensor = try checkpoint.tensor(prefix + PrototypeRouterFormat.encoder)
      guard tensor.shape.count == 2, tensor.shape[0] == hiddenSize,
        let latent = LatentFormTensors.latentSize(kind, outputs: tensor.shape[1])
      else {
        throw mismatch(
          tensor, "[\(hiddenSize), \(kind == .linear ? "R" : "2R")], R the latent size")
      }
      let weight = try matrix(PrototypeRouterFormat.encoder, hiddenSize, tensor.shape[1])
      return (weight.transposed(), latent)
    }

    func floats(_ name: String, shape: [Int]) throws(RegateError) -> [Float] {
      let tensor = try checkpoint.tensor(prefix + name)
      guard tensor.shape == shape else { throw mismatch(tensor, "\(shape)") }
      return try RouterValues.checked(
        checkpoint.floats(of: tensor), file: checkpoint.path, name: tensor.name)
    }

    func integers(_ name: String, count: Int) throws(RegateError) -> [Int] {
      let tensor = try checkpoint.tensor(prefix + name)
      guard tensor.shape == [count], tensor.type == .i64 else {
        throw mismatch(tensor, "I64 [\(count)]")
      }
      return try checkpoint.withBytes(of: tensor) { bytes in
        (0..<count).map { Int(bytes.integer(at: $0 * 8, as: Int64.self)) }
      }
    }

    private func mismatch(_ tensor: TensorInfo, _ expected: String) -> RegateError {
      RegateError(
        .mismatch, file: checkpoint.path, subject: tensor.name,
        "is \(tensor.type.rawValue) \(tensor.shape), expected \(expected)",
        advice: "the checkpoint is of another version of the prototype form, or was changed")
    }
  }
}
