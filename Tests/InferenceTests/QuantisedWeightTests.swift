// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import Inference
import OrderedCollections
import Tensors
import TestSupport
import Testing

/// The layouts are those that `tools/interop/quantised_weights.py` makes and holds against
/// compressed-tensors' own code.
@Suite("Quantised weights and what stands beside them") struct QuantisedWeightTests {
  /// Latent attention, a dense layer, shared experts.
  private static let source = "deepseek-v2"
  static let parts = [
    "self_attn", "layers.0.mlp", "shared_experts", "mlp.experts", "mlp.gate.", "lm_head",
    "embed_tokens",
  ]

  /// Has rows that fill no whole words of packed integers.
  private static let oddRows = "self_attn"

  private static func isMatrix(_ name: String, _ tensor: TensorInfo, of part: String) -> Bool {
    name.contains(part) && name.hasSuffix(".weight") && tensor.shape.count == 2
  }

  /// A copy of the variant in which `change` gives the tensors instead of each.
  private static func write(
    _ quantisation: String?,
    _ change: (String, TensorInfo) throws -> [SafetensorsWriter.Tensor]?
  ) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    let folder = Variant.folder(source)
    let data = try Data(contentsOf: URL(filePath: folder + "/config.json"))
    var config = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    config["quantization_config"] = try quantisation.map {
      try JSONSerialization.jsonObject(with: Data($0.utf8))
    }
    try directory.write([UInt8](JSONSerialization.data(withJSONObject: config)), to: "config.json")
    let checkpoint = try SafetensorsCheckpoint(path: folder + "/model.safetensors")
    var tensors: [SafetensorsWriter.Tensor] = []
    for (name, tensor) in checkpoint.tensors {
      let bytes = try checkpoint.withBytes(of: tensor) { [UInt8](copying: $0) }
      tensors +=
        try change(name, tensor)
        ?? [.init(name: name, type: tensor.type, shape: tensor.shape, bytes: bytes)]
    }
    try SafetensorsWriter.write(tensors, to: .file(directory.path("model.safetensors")))
    return directory
  }

  private static func logits(_ directory: TemporaryDirectory) throws -> Matrix {
    let pass = try ForwardPass(
      Variant.model(in: directory.url.path), sequences: [[1, 5, 9, 30, 2, 17]], threads: 1)
    try pass.finish()
    return try pass.logits(at: Array(0..<6))
  }

  private static func quantised(
    _ part: String, _ layout: QuantisedLayout,
    without left: String? = nil, also added: [QuantisedLayout.Tensor] = []
  ) throws -> TemporaryDirectory {
    try write(layout.config) { name, tensor in
      guard isMatrix(name, tensor, of: part) else { return nil }
      let module = String(name.dropLast("weight".count))
      let made = layout.make(tensor.shape[0], tensor.shape[1]).tensors
      return (made.filter { $0.suffix != left } + added).map {
        .init(name: module + $0.suffix, type: $0.type, shape: $0.shape, bytes: $0.bytes)
      }
    }
  }

  @Test(arguments: QuantisedLayout.all, parts)
  func `quantised weights are the values that they stand for`(
    layout: QuantisedLayout, part: String
  ) throws {
    // Only compressed-tensors has another name for the weight, and no gate is stored so.
    if part == "mlp.gate.", layout.name.hasSuffix("MXFP4") || layout.name.contains("compressed") {
      return
    }
    if layout.isPacked, part == Self.oddRows { return }
    let quantised = try Self.quantised(part, layout)
    let plain = try Self.write(nil) { name, tensor in
      guard Self.isMatrix(name, tensor, of: part) else { return nil }
      let values = layout.make(tensor.shape[0], tensor.shape[1]).values
      return [
        .init(
          name: name, type: .f32, shape: tensor.shape,
          bytes: try TensorEncoder.encode(values, type: .f32))
      ]
    }
    let difference = try Self.logits(quantised).largestDifference(to: Self.logits(plain))
    #expect(difference < 1e-6)
  }

  /// What is written beside a weight, or instead of it, and words of the refusal.
  struct Refusal: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let says: String
    var layout = QuantisedLayout.all[0]
    var left: String?
    var added: [String] = []
    var type = ElementType.f32
    var shape = [7, 7]
  }

  static let refusals = [
    Refusal(
      testDescription: "FP8 without a scale", says: "is F8_E4M3, and no scale stands beside it",
      left: "weight_scale"),
    Refusal(
      testDescription: "INT8 without a scale", says: "is I8, and no scale stands beside it",
      layout: QuantisedLayout.eightBits("INT8", .i8, block: (1, 0)), left: "weight_scale"),
    Refusal(
      testDescription: "two scales", says: "is a second scale of",
      added: ["weight_scale_inv"]),
    Refusal(
      testDescription: "a scale of another size", says: "has shape [7, 7] beside",
      left: "weight_scale", added: ["weight_scale"]),
    Refusal(
      testDescription: "an adapter", says: "is part of an adapter", added: ["lora_A.weight"]),
    Refusal(
      testDescription: "a scale that nobody knows", says: "is a scale of an unknown kind",
      added: ["weight_scale_3"]),
    Refusal(
      testDescription: "scaled inputs", says: "scales the weight's inputs",
      added: ["pre_quant_scale"]),
    Refusal(
      testDescription: "anything else", says: "is not understood", added: ["novelty"]),
    Refusal(
      testDescription: "GPTQ", says: "belongs to a weight of packed integers", left: "weight",
      added: ["qweight", "qzeros", "scales", "g_idx"], type: .i32),
    Refusal(
      testDescription: "NF4", says: "belongs to a weight that bitsandbytes packed",
      added: ["weight.absmax"]),
    Refusal(
      testDescription: "INT4 with zero points", says: "no known layout has both",
      layout: QuantisedLayout.int4("INT4", group: 0), added: ["weight_zero_point"]),
    Refusal(
      testDescription: "a shape beside values that are not packed",
      says: "no known layout has both",
      added: ["weight_shape"]),
    Refusal(
      testDescription: "NVFP4 without its second scale", says: "neither weight_scale_2 nor",
      layout: QuantisedLayout.all[11], left: "weight_scale_2"),
  ]

  @Test(arguments: refusals, parts)
  func `what is not understood is refused by name before anything is read`(
    _ refusal: Refusal, part: String
  ) throws {
    // What no runtime reads beside a gate is a warning.
    if part == "mlp.gate.", refusal.says == "is not understood" { return }
    if refusal.layout.isPacked, part == Self.oddRows { return }
    let size = refusal.shape.reduce(1, *) * (refusal.type.blockBits / 8)
    let added = refusal.added.map {
      QuantisedLayout.Tensor(
        suffix: $0, type: refusal.type, shape: refusal.shape,
        bytes: [UInt8](repeating: 1, count: size))
    }
    let directory = try Self.quantised(part, refusal.layout, without: refusal.left, also: added)
    var text = "no error"
    do {
      // Shapes are compared where they are known: when the weight is decoded.
      if refusal.says.hasPrefix("has shape") {
        _ = try Self.logits(directory)
      } else {
        _ = try Variant.model(in: directory.url.path)
      }
    } catch {
      text = String(describing: error)
    }
    // A GPTQ router is told by what it is.
    #expect(text.contains(refusal.says) || text.contains("the router is quantised"), "\(text)")
    #expect(text.contains(part), "\(text)")
  }

  @Test func `a scale beside plain values is refused`() throws {
    let directory = try Self.write(nil) { name, tensor in
      guard name == "model.norm.weight" else { return nil }
      return ["weight", "weight_scale"].map {
        .init(
          name: "model.norm." + $0, type: .f32, shape: tensor.shape,
          bytes: [UInt8](repeating: 0, count: 4 * tensor.elementCount))
      }
    }
    let error = #expect(throws: (any Error).self) { try Variant.model(in: directory.url.path) }
    #expect(String(describing: error).contains("model.norm.weight_scale: stands beside"))
  }
}
