// SPDX-License-Identifier: Apache-2.0
//
// The tensors of the prototype router (see "The prototype router" in the
// documentation): weight [H,R] (encoder lpr: [H,2R]), logical_prototypes [E,R], logit_bias [E],
// selection_bias [E], token_bias [E,R], physical_to_logical [E], clone_prototypes [E,R],
// clone_bias [E], and what LatentFormTensors lists.

import Architectures
package import ByteStorage
package import Checkpoints
package import Routing
import Tensors

package enum PrototypeRouterFormat {
  static let encoder = "weight"
  static let logicalPrototypes = "logical_prototypes"
  static let logitBias = "logit_bias"
  static let selectionBias = "selection_bias"
  static let tokenBias = "token_bias"
  static let physicalToLogical = "physical_to_logical"
  static let clonePrototypes = "clone_prototypes"
  static let cloneBias = "clone_bias"

  /// What stands before the names above: the gate's name without its last component.
  static func prefix(of gate: String) -> String {
    gate.hasSuffix(".weight") ? String(gate.dropLast("weight".count)) : gate + "."
  }

  /// The module whose parameters stand where the gate was.
  static func module(of gate: String) -> String { String(prefix(of: gate).dropLast()) }

  /// The tensors of `router`, which takes the place of the gate named `gate`.
  package static func tensors(
    of router: PrototypeRouter, gate: String
  ) throws(RegateError) -> [SafetensorsWriter.Tensor] {
    let weight = LatentFormTensors.matrix(of: router.encoder)
    guard weight.columns != router.experts else {
      // [H,R] must differ from every stock gate [E,H]: that is what stops stock code.
      throw RegateError(
        .unsupported, subject: gate,
        "hidden size and number of experts are both \(router.experts): "
          + "the prototype form could be mistaken for a stock gate", advice: "use --router stock")
    }
    let prefix = prefix(of: gate)
    func floats(_ name: String, _ values: [Float], _ shape: [Int]) throws(RegateError)
      -> SafetensorsWriter.Tensor
    {
      SafetensorsWriter.Tensor(
        name: prefix + name, type: .f32, shape: shape,
        bytes: try TensorEncoder.encode(values, type: .f32))
    }
    func floats(_ name: String, _ matrix: Matrix) throws(RegateError) -> SafetensorsWriter.Tensor {
      try floats(name, matrix.values, [matrix.rows, matrix.columns])
    }
    let count = [router.experts]
    var tensors = [
      try floats(encoder, weight.transposed()),
      try floats(logicalPrototypes, router.logicalPrototypes),
      try floats(
        logitBias, router.logitBias ?? [Float](repeating: 0, count: router.experts), count),
      try floats(selectionBias, router.selectionBias, count),
      try floats(
        tokenBias,
        router.tokenBias ?? Matrix(rows: router.experts, columns: router.latentSize)),
      SafetensorsWriter.Tensor(
        name: prefix + physicalToLogical, type: .i64, shape: count,
        bytes: router.physicalToLogical.flatMap { function in
          Int64(function).littleEndianBytes
        }),
      try floats(clonePrototypes, router.clonePrototypes),
      try floats(cloneBias, router.cloneBias, count),
    ]
    for tensor in LatentFormTensors.added(by: router) {
      tensors.append(try floats(tensor.name, tensor.values, tensor.shape))
    }
    return tensors
  }
}

extension PrototypeRouterFormat {
  /// Reads the prototype router of a layer whose gate tensor is its encoder.
  static func router(
    of layer: MoELayer, form: PrototypeRouter.LatentForm, in checkpoint: any Checkpoint
  ) throws(RegateError) -> PrototypeRouter {
    let experts = layer.rule.experts
    let reader = Reader(checkpoint: checkpoint, prefix: prefix(of: layer.gate.name))
    let (weight, latent) = try reader.encoder(form.encoder, hiddenSize: layer.hiddenSize)
    let functions = try reader.integers(physicalToLogical, count: experts)
    guard functions.allSatisfy({ (0..<experts).contains($0) }) else {
      throw RegateError(
        .malformed, file: checkpoint.path, subject: reader.prefix + physicalToLogical,
        "names a function outside 0..<\(experts)", advice: "the checkpoint is damaged")
    }
    let (similarity, scale) = try LatentFormTensors.similarity(
      form.similarity, experts: experts, latent: latent, from: reader)
    return PrototypeRouter(
      encoder: try LatentFormTensors.encoder(form.encoder, weight: weight, from: reader),
      similarity: similarity, similarityScale: scale,
      logicalPrototypes: try reader.matrix(logicalPrototypes, experts, latent),
      logitBias: try reader.floats(logitBias, shape: [experts]),
      selectionBias: try reader.floats(selectionBias, shape: [experts]),
      tokenBias: try reader.matrix(tokenBias, experts, latent).unlessZero,
      physicalToLogical: functions,
      clonePrototypes: try reader.matrix(clonePrototypes, experts, latent),
      cloneBias: try reader.floats(cloneBias, shape: [experts]), rule: layer.rule)
  }

  /// Tensors of one layer's router, checked for type and shape.
  private struct Reader: RouterTensorSource {
    let checkpoint: any Checkpoint
    let prefix: String

    /// The encoder's matrix, outputs as rows, and the latent size R.
    func encoder(
      _ kind: PrototypeRouter.EncoderKind, hiddenSize: Int
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
      return try checkpoint.floats(of: tensor)
    }

    func integers(_ name: String, count: Int) throws(RegateError) -> [Int] {
      let tensor = try checkpoint.tensor(prefix + name)
      guard tensor.shape == [count], tensor.type == .i64 else {
        throw mismatch(tensor, "I64 [\(count)]")
      }
      return checkpoint.withBytes(of: tensor) { bytes in
        (0..<count).map { Int(bytes.integer(at: $0 * 8, as: Int64.self)) }
      }
    }

    private func mismatch(_ tensor: TensorInfo, _ expected: String) -> RegateError {
      RegateError(
        .mismatch, file: checkpoint.path, subject: tensor.name,
        "is \(tensor.type.rawValue) \(tensor.shape), expected \(expected)",
        advice: "the checkpoint is damaged, or of another version of the prototype form")
    }
  }
}

extension Matrix {
  /// Nil for a matrix of zeros, such as stands where nothing leans.
  var unlessZero: Matrix? { values.allSatisfy { $0 == 0 } ? nil : self }
}
