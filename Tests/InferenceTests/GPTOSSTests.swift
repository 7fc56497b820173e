// SPDX-License-Identifier: Apache-2.0
//
// What the variants of `fixtures/variants` do not hold: experts in BF16, and parts that are not
// there or not as they should be.

import ByteStorage
import Checkpoints
import Foundation
import Inference
import OrderedCollections
import Tensors
import TestSupport
import Testing

@Suite("GPT-OSS") struct GPTOSSTests {
  private static let attention = "model.layers.1.self_attn."
  private static let experts = "model.layers.0.mlp.experts."

  private func logits(_ model: InferenceModel) throws -> Matrix {
    let variant = try Variant("gpt-oss")
    let pass = try ForwardPass(model, sequences: variant.sequences, threads: 1)
    try pass.finish()
    return try pass.logits(at: Array(0..<variant.logits.rows))
  }

  /// The values of blocks [rows, groups, 16] and scales [rows, groups] of one expert, as the format
  /// defines them.
  private static func values(_ blocks: ArraySlice<UInt8>, _ scales: ArraySlice<UInt8>) -> [Float] {
    let magnitudes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    func value(_ code: UInt8) -> Float {
      (code & 8 == 0 ? 1 : -1) * magnitudes[Int(code & 7)]
    }
    return zip(blocks.indices, blocks).flatMap { index, byte in
      let group = (index - blocks.startIndex) / 16
      let scale = exp2f(Float(scales[scales.startIndex + group]) - 127)
      return [value(byte & 15) * scale, value(byte >> 4) * scale]
    }
  }

  /// As transformers writes what it has dequantised: BF16 [experts, in, out].
  private func dequantised() throws -> TemporaryDirectory {
    let folder = Variant.folder("gpt-oss")
    let checkpoint = try SafetensorsCheckpoint(path: folder + "/model.safetensors")
    func bytes(_ name: String) throws -> [UInt8] {
      try checkpoint.withBytes(of: checkpoint.tensor(name)) { [UInt8](copying: $0) }
    }
    var tensors: [SafetensorsWriter.Tensor] = []
    for (name, tensor) in checkpoint.tensors where !name.hasSuffix("_scales") {
      guard name.hasSuffix("_blocks") else {
        tensors.append(
          .init(name: name, type: tensor.type, shape: tensor.shape, bytes: try bytes(name)))
        continue
      }
      let (experts, rows) = (tensor.shape[0], tensor.shape[1])
      let columns = 32 * tensor.shape[2]
      let stem = String(name.dropLast("_blocks".count))
      let (blocks, scales) = (try bytes(name), try bytes(stem + "_scales"))
      var turned: [UInt8] = []
      for expert in 0..<experts {
        func part(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
          let size = bytes.count / experts
          return bytes[expert * size..<(expert + 1) * size]
        }
        let values = Matrix(
          rows: rows, columns: columns, values: Self.values(part(blocks), part(scales)))
        turned += try TensorEncoder.encode(values.transposed().values, type: .bf16)
      }
      tensors.append(
        .init(name: stem, type: .bf16, shape: [experts, columns, rows], bytes: turned))
    }
    let directory = try TemporaryDirectory()
    try FileManager.default.copyItem(
      atPath: folder + "/config.json", toPath: directory.path("config.json"))
    try SafetensorsWriter.write(tensors, to: .file(directory.path("model.safetensors")))
    return directory
  }

  @Test func `experts in BF16 compute what those in MXFP4 do`() throws {
    let directory = try dequantised()
    let found = try logits(try Variant.model(in: directory.url.path))
    #expect(found.largestDifference(to: try Variant("gpt-oss").logits) < 3e-5)
  }

  @Test(arguments: [
    attention + "sinks", attention + "o_proj.bias", attention + "k_proj.bias",
    "model.layers.1.mlp.router.bias", experts + "down_proj_bias",
  ])
  func `a part that is absent or misshapen is named`(name: String) throws {
    let (absent, misshapen) = try AlteredModel.refusals(of: "gpt-oss", part: name)
    #expect(absent?.subject == name && absent?.code == .missing)
    #expect(misshapen?.subject == name && misshapen?.code == .mismatch)
  }

  @Test func `blocks of another width than 32 values are named`() throws {
    let name = Self.experts + "down_proj_blocks"
    let altered = try AlteredModel(
      "gpt-oss",
      tensors: { tensor, _, shape, _ in
        if tensor == name { shape[2...] = [2, 8] }
        return true
      })
    let words = altered.refusal()?.description ?? ""
    #expect(words.contains(name) && words.contains("[32, 2, 8], expected [32, 1, 16]"))
  }

  @Test func `sinks that are no numbers are named`() throws {
    let name = Self.attention + "sinks"
    let altered = try AlteredModel(
      "gpt-oss",
      tensors: { tensor, _, _, bytes in
        if tensor == name { bytes = [0xC0, 0x7F, 0, 0] }
        return true
      })
    #expect(altered.refusal()?.subject == name)
  }

  @Test func `scales of another number of groups are named`() throws {
    let name = Self.experts + "gate_up_proj_scales"
    let altered = try AlteredModel(
      "gpt-oss",
      tensors: { tensor, _, shape, bytes in
        if tensor == name {
          shape = [3, 64, 2]
          bytes += bytes
        }
        return true
      })
    #expect(altered.refusal()?.subject == name)
  }

  @Test(arguments: [
    ("layer_types", #"["sliding_attention", "chunked_attention"]"#),
    ("layer_types", #"["sliding_attention"]"#), ("sliding_window", "0"), ("sliding_window", "null"),
    ("rope_parameters", "null"), ("rope_parameters", "[1]"), ("head_dim", "7"),
  ])
  func `a value that the class does not run with is named`(key: String, value: String) throws {
    let parsed = try JSONSerialization.jsonObject(
      with: Data(value.utf8), options: .fragmentsAllowed)
    let altered = try AlteredModel("gpt-oss", config: { $0[key] = parsed })
    #expect(altered.refusal()?.subject == key)
  }

  @Test func `a window that no layer has may be 0`() throws {
    let full = ["full_attention", "full_attention"]
    let (none, some) = try (
      AlteredModel(
        "gpt-oss",
        config: {
          $0["layer_types"] = full
          $0["sliding_window"] = 0
        }), AlteredModel("gpt-oss", config: { $0["layer_types"] = full })
    )
    #expect(try logits(none.model()).values == logits(some.model()).values)
  }

  @Test func `a router's bias is one value for each expert`() throws {
    let name = "model.layers.0.mlp.router.bias"
    let altered = try AlteredModel(
      "gpt-oss",
      tensors: { tensor, _, shape, _ in
        if tensor == name { shape = [1] + shape }
        return true
      })
    let error = altered.refusal()
    #expect(error?.subject == name && error?.problem.contains("[1, 3], expected [3]") == true)
  }

  @Test func `an exponent that is no number is named with its place`() throws {
    let name = Self.experts + "down_proj_scales"
    let altered = try AlteredModel(
      "gpt-oss",
      tensors: { tensor, _, _, bytes in
        if tensor == name { bytes[2] = 0xFF }
        return true
      })
    let error = altered.refusal()
    #expect(error?.subject == name && error?.problem.contains("holds NaN at [0, 2, 0]") == true)
  }

  @Test func `blocks that quantization_config contradicts are refused`() throws {
    let altered = try AlteredModel(
      "gpt-oss", config: { $0["quantization_config"] = ["quant_method": "fp8"] })
    let error = altered.refusal()
    #expect(error?.description.contains("in blocks of FP4, which quantization_config") == true)
  }

  @Test func `layer_types says which layers have a window`() throws {
    let whole = try logits(
      try AlteredModel(
        "gpt-oss", config: { $0["layer_types"] = ["full_attention", "full_attention"] }
      ).model())
    let golden = try Variant("gpt-oss").logits
    // The window is of five tokens.
    let last = whole.gathering(rows: [4])
    #expect(last.largestDifference(to: golden.gathering(rows: [4])) < 3e-5)
    #expect(whole.largestDifference(to: golden) > 0.01)
    let usual = try AlteredModel("gpt-oss", config: { $0["layer_types"] = nil })
    #expect(try logits(try usual.model()).largestDifference(to: golden) < 3e-5)
  }
}
