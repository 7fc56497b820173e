// SPDX-License-Identifier: Apache-2.0
//
// The tensors of the native router (see "The native router" in the
// documentation): weight [H,R] (encoder lpr: [H,2R]), function_prototypes [E,R], function_bias [E],
// function_potentials [E], function_slopes [E,R], slot_function [E], slot_prototypes [E,R],
// slot_potentials [E], and what LatentFormTensors lists.

import Architectures
package import ByteStorage
import Checkpoints
package import Routing
import Tensors

/// One tensor of the native form, ready to be written.
package struct NativeTensor: Sendable {
  package let name: String
  let type: ElementType
  package let shape: [Int]
  package let bytes: [UInt8]
}

package enum NativeRouterFormat {
  static let encoder = "weight"
  static let functionPrototypes = "function_prototypes"
  static let functionBias = "function_bias"
  static let functionPotentials = "function_potentials"
  static let functionSlopes = "function_slopes"
  static let slotFunction = "slot_function"
  static let slotPrototypes = "slot_prototypes"
  static let slotPotentials = "slot_potentials"

  /// What stands before the names above: the gate's name without its last component.
  static func prefix(of gate: String) -> String {
    gate.hasSuffix(".weight") ? String(gate.dropLast("weight".count)) : gate + "."
  }

  /// The module whose parameters stand where the gate was.
  static func module(of gate: String) -> String { String(prefix(of: gate).dropLast()) }

  /// The tensors of `router`, which takes the place of the gate named `gate`.
  package static func tensors(
    of router: PrototypeRouter, gate: String
  ) throws(RegateError) -> [NativeTensor] {
    let weight = LatentFormTensors.matrix(of: router.encoder)
    guard weight.columns != router.experts else {
      // [H,R] must differ from every stock gate [E,H]: that is what stops stock code.
      throw RegateError(
        .unsupported, subject: gate,
        "hidden size and number of experts are both \(router.experts): "
          + "the native form could be mistaken for a stock gate", advice: "use --router stock")
    }
    let prefix = prefix(of: gate)
    func floats(_ name: String, _ values: [Float], _ shape: [Int]) throws(RegateError)
      -> NativeTensor
    {
      NativeTensor(
        name: prefix + name, type: .f32, shape: shape,
        bytes: try TensorEncoder.encode(values, type: .f32))
    }
    func floats(_ name: String, _ matrix: Matrix) throws(RegateError) -> NativeTensor {
      try floats(name, matrix.values, [matrix.rows, matrix.columns])
    }
    let count = [router.experts]
    var tensors = [
      try floats(encoder, weight.transposed()),
      try floats(functionPrototypes, router.functionPrototypes),
      try floats(
        functionBias, router.functionBias ?? [Float](repeating: 0, count: router.experts), count),
      try floats(functionPotentials, router.functionPotentials, count),
      try floats(
        functionSlopes,
        router.functionSlopes ?? Matrix(rows: router.experts, columns: router.latentSize)),
      NativeTensor(
        name: prefix + slotFunction, type: .i64, shape: count,
        bytes: router.slotFunction.flatMap { function in
          withUnsafeBytes(of: Int64(function).littleEndian) { Array($0) }
        }),
      try floats(slotPrototypes, router.slotPrototypes),
      try floats(slotPotentials, router.slotPotentials, count),
    ]
    for tensor in LatentFormTensors.added(by: router) {
      tensors.append(try floats(tensor.name, tensor.values, tensor.shape))
    }
    return tensors
  }
}

extension NativeRouterFormat {
  /// Reads the native router of a layer whose gate tensor is its encoder.
  static func router(
    of layer: MoELayer, form: PrototypeRouter.LatentForm, in checkpoint: any Checkpoint
  ) throws(RegateError) -> PrototypeRouter {
    let experts = layer.rule.experts
    let reader = Reader(checkpoint: checkpoint, prefix: prefix(of: layer.gate.name))
    let (weight, latent) = try reader.encoder(form.encoder, hiddenSize: layer.hiddenSize)
    let functions = try reader.integers(slotFunction, count: experts)
    guard functions.allSatisfy({ (0..<experts).contains($0) }) else {
      throw RegateError(
        .malformed, file: checkpoint.path, subject: reader.prefix + slotFunction,
        "names a function outside 0..<\(experts)", advice: "the checkpoint is damaged")
    }
    let (similarity, scale) = try LatentFormTensors.similarity(
      form.similarity, experts: experts, latent: latent, from: reader)
    return PrototypeRouter(
      encoder: try LatentFormTensors.encoder(form.encoder, weight: weight, from: reader),
      similarity: similarity, similarityScale: scale,
      functionPrototypes: try reader.matrix(functionPrototypes, experts, latent),
      functionBias: try reader.floats(functionBias, shape: [experts]),
      functionPotentials: try reader.floats(functionPotentials, shape: [experts]),
      functionSlopes: try reader.matrix(functionSlopes, experts, latent).unlessZero,
      slotFunction: functions,
      slotPrototypes: try reader.matrix(slotPrototypes, experts, latent),
      slotPotentials: try reader.floats(slotPotentials, shape: [experts]), rule: layer.rule)
  }

  /// Tensors of one layer's router, checked for type and shape.
  private struct Reader: RouterTensorSource {
    let checkpoint: any Checkpoint
    let prefix: String

    /// The encoder's matrix, outputs as rows, and the latent size R.
    func encoder(
      _ kind: PrototypeRouter.EncoderKind, hiddenSize: Int
    ) throws(RegateError) -> (weight: Matrix, latent: Int) {
      let tensor = try checkpoint.tensor(prefix + NativeRouterFormat.encoder)
      guard tensor.shape.count == 2, tensor.shape[0] == hiddenSize,
        let latent = LatentFormTensors.latentSize(kind, outputs: tensor.shape[1])
      else {
        throw mismatch(
          tensor, "[\(hiddenSize), \(kind == .linear ? "R" : "2R")], R the latent size")
      }
      let weight = try matrix(NativeRouterFormat.encoder, hiddenSize, tensor.shape[1])
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
        (0..<count).map {
          Int(Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)))
        }
      }
    }

    private func mismatch(_ tensor: TensorInfo, _ expected: String) -> RegateError {
      RegateError(
        .mismatch, file: checkpoint.path, subject: tensor.name,
        "is \(tensor.type.rawValue) \(tensor.shape), expected \(expected)",
        advice: "the checkpoint is damaged, or of another version of the native form")
    }
  }
}

extension Matrix {
  /// Nil for a matrix of zeros, such as stands where nothing leans.
  var unlessZero: Matrix? { values.allSatisfy { $0 == 0 } ? nil : self }
}
