// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport
import Testing

struct ExpertReaderTests {
  private func weights(_ draft: ModelDraft, _ expert: Int) throws -> DecodedExpert {
    let directory = try TemporaryDirectory()
    let checkpoint: any Checkpoint =
      draft.metadata.isEmpty
      ? try draft.safetensors(in: directory) : try draft.gguf(in: directory)
    let layout = try ModelLayout.read(checkpoint)
    return try DecodedExpert(checkpoint, layout, expert, try #require(layout.layers.last))
  }

  private func expected(_ name: String, _ rows: Int, _ columns: Int, from start: Int = 0) -> Matrix
  {
    Matrix(
      rows: rows, columns: columns,
      values: (start..<start + rows * columns).map { ModelDraft.value(name, $0) })
  }

  @Test(arguments: 0..<4)
  func `per-expert, fused and transposed storage decode to the same matrices`(
    expert: Int
  ) throws {
    let draft = ModelDraft.qwen3()
    let stem = "model.layers.1.mlp.experts.\(expert)."
    for stored in [draft, try draft.fused(), try draft.fused(transposed: true)] {
      let weights = try weights(stored, expert)
      #expect(weights.gate == expected(stem + "gate_proj.weight", 6, 8))
      #expect(weights.up == expected(stem + "up_proj.weight", 6, 8))
      #expect(weights.down == expected(stem + "down_proj.weight", 8, 6))
    }
  }

  @Test func `Mixtral's w1 is gate, w3 up, w2 down`() throws {
    let weights = try weights(.mixtral, 3)
    let stem = "model.layers.1.block_sparse_moe.experts.3."
    #expect(weights.gate == expected(stem + "w1.weight", 6, 8))
    #expect(weights.up == expected(stem + "w3.weight", 6, 8))
    #expect(weights.down == expected(stem + "w2.weight", 8, 6))
  }

  @Test func `a square matrix is transposed if the layer's others are`() throws {
    // I = H: down alone cannot tell.
    var draft = ModelDraft()
    draft.config = [
      "model_type": "qwen3_moe", "hidden_size": 8, "num_hidden_layers": 1, "num_experts": 4,
      "num_experts_per_tok": 2, "moe_intermediate_size": 8,
    ]
    draft.add("model.layers.0.mlp.gate.weight", [4, 8])
    draft.add("model.layers.0.mlp.experts.gate_up_proj", [4, 8, 16])
    draft.add("model.layers.0.mlp.experts.down_proj", [4, 8, 8])
    let down = try weights(draft, 1).down
    let stored = expected("model.layers.0.mlp.experts.down_proj", 8, 8, from: 64)
    #expect((0..<8).allSatisfy { row in (0..<8).allSatisfy { down[row, $0] == stored[$0, row] } })
  }

  @Test func `GGUF slices, stacked or with gate and up fused`() throws {
    let plain = try weights(.gguf("qwen3moe"), 2)
    #expect(plain.gate == expected("blk.1.ffn_gate_exps.weight", 6, 8, from: 2 * 48))
    #expect(plain.up == expected("blk.1.ffn_up_exps.weight", 6, 8, from: 2 * 48))
    #expect(plain.down == expected("blk.1.ffn_down_exps.weight", 8, 6, from: 2 * 48))
    let fused = try weights(.gguf("qwen3moe", fusedGateUp: true), 2)
    #expect(fused.gate == expected("blk.1.ffn_gate_up_exps.weight", 6, 8, from: 2 * 96))
    #expect(fused.up == expected("blk.1.ffn_gate_up_exps.weight", 6, 8, from: 2 * 96 + 48))
  }

  @Test func `a GGUF scale multiplies its expert's matrix`() throws {
    var draft = ModelDraft.gguf("qwen3moe")
    for layer in 0..<2 {
      draft.add("blk.\(layer).ffn_up_exps.scale", [4], values: [1, 2, 0.5, 4])
      draft.add("blk.\(layer).ffn_up_exps.input_scale", [4], values: [9, 9, 9, 9])
    }
    let stored = expected("blk.1.ffn_up_exps.weight", 6, 8, from: 2 * 48)
    #expect(try weights(draft, 2).up.values == stored.values.map { $0 * 0.5 })
  }

  @Test(arguments: [false, true])
  func `FP8 weights take their block scales, also from another shard`(fused: Bool) throws {
    let draft = try ExpertReaderTests.fp8(fused: fused)
    let directory = try TemporaryDirectory()
    let checkpoint = try draft.safetensors(in: directory) { $0.contains("scale_inv") ? 1 : 2 }
    #expect(checkpoint.files.count == 2)
    let layout = try ModelLayout.read(checkpoint)
    #expect(layout.quantisation.block?.rows == 4 && layout.quantisation.block?.columns == 4)
    let layer = layout.layers[1]
    let weights = try DecodedExpert(checkpoint, layout, 3, layer)
    for (role, matrix) in [(ExpertPart.Role.up, weights.up), (.down, weights.down)] {
      let stored = fused && role == .up ? ExpertPart.Role.gateUp : role
      let parts = layer.experts.filter { $0.role == stored }
      let weight = try #require(parts.first { $0.kind == .weight }).slice(expert: 3)
      let scale = try #require(parts.first { $0.kind == .scale }).slice(expert: 3)
      #expect(weight.tensor.file != scale.tensor.file)
      let values = try checkpoint.floats(
        of: weight.tensor, part: weight.bytes, count: weight.bytes.count)
      let scales = try checkpoint.floats(
        of: scale.tensor, part: scale.bytes, count: scale.bytes.count / 4)
      // Up rows follow the gate rows of a fused matrix.
      let first = stored == .gateUp ? 6 : 0
      let grid = (matrix.columns + 3) / 4
      for row in 0..<matrix.rows {
        for column in 0..<matrix.columns {
          let value = values[(first + row) * matrix.columns + column]
          #expect(matrix[row, column] == value * scales[(first + row) / 4 * grid + column / 4])
        }
      }
    }
  }

  /// Blocks of 4 x 4, partial at the edges: 6 and 12 rows, 6 columns.
  static func fp8(fused: Bool) throws -> ModelDraft {
    var draft = fused ? try ModelDraft.qwen3().fused() : ModelDraft.qwen3()
    draft.config["quantization_config"] = ["quant_method": "fp8", "weight_block_size": [4, 4]]
    for (name, tensor) in draft.tensors where name.contains("experts") {
      let matrix = tensor.shape.suffix(2).map { ($0 + 3) / 4 }
      draft.add(name, tensor.shape, .f8e4m3)
      draft.add(name + "_scale_inv", Array(tensor.shape.dropLast(2)) + matrix)
    }
    return draft
  }

  @Test func `one scale beside the fused matrices of all experts multiplies each`() throws {
    var draft = try ModelDraft.qwen3().fused()
    draft.config["quantization_config"] = ["quant_method": "fp8"]
    for (name, tensor) in draft.tensors where name.contains("experts") {
      draft.add(name, tensor.shape, .f8e4m3)
      draft.add(name + "_scale_inv", [1], values: [name.contains("down") ? 0.25 : 3])
    }
    let directory = try TemporaryDirectory()
    let checkpoint = try draft.safetensors(in: directory)
    let layout = try ModelLayout.read(checkpoint)
    #expect(layout.undecodable == nil && layout.unclonable == nil)
    // What all experts share is no part of any.
    #expect(layout.layers[1].experts.map(\.role) == [.gateUp, .down])
    let weights = try DecodedExpert(checkpoint, layout, 2, layout.layers[1])
    let down = layout.layers[1].experts[1].slice(expert: 2)
    let stored = try checkpoint.floats(of: down.tensor, part: down.bytes, count: 48)
    #expect(weights.down.values == stored.map { $0 * 0.25 })
    let gateUp = layout.layers[1].experts[0].slice(expert: 2)
    let both = try checkpoint.floats(of: gateUp.tensor, part: gateUp.bytes, count: 96)
    #expect(weights.gate.values + weights.up.values == both.map { $0 * 3 })
  }

  @Test func `a scale grid of another size is refused by name`() throws {
    var draft = try ExpertReaderTests.fp8(fused: false)
    let name = "model.layers.1.mlp.experts.3.up_proj.weight_scale_inv"
    draft.add(name, [2, 3])
    let error = #expect(throws: RegateError.self) { try weights(draft, 3) }
    #expect(error?.subject == name && error?.code == .mismatch)
  }

  @Test func `another activation is refused by name`() throws {
    let error = #expect(throws: RegateError.self) {
      try weights(.qwen3(["hidden_act": "gelu"]), 0)
    }
    #expect(error?.description.contains("hidden_act is gelu") == true)
  }

  @Test func `an expert computes down(silu(gate x) * up x)`() {
    var generator = SeededGenerator(seed: 7)
    func random(_ rows: Int, _ columns: Int) -> Matrix {
      Matrix(
        rows: rows, columns: columns,
        values: (0..<rows * columns).map { _ in Float.random(in: -2...2, using: &generator) })
    }
    let (gateRows, upRows, downRows) = (random(6, 8), random(6, 8), random(8, 6))
    let expert = PackedExpert(
      gate: PackedMatrix(packing: MatrixView(gateRows)),
      up: PackedMatrix(packing: MatrixView(upRows)),
      down: PackedMatrix(packing: MatrixView(downRows)),
      activation: .silu)
    let inputs = random(1100, 8)
    let outputs = expert.apply(inputs)
    for token in stride(from: 0, to: 1100, by: 97) {
      func dot(_ matrix: Matrix, _ row: Int, _ x: [Double]) -> Double {
        zip(matrix.row(row), x).reduce(0) { $0 + Double($1.0) * $1.1 }
      }
      let x = inputs.row(token).map(Double.init)
      let hidden = (0..<6).map { row in
        let gate = dot(gateRows, row, x)
        return gate / (1 + exp(-gate)) * dot(upRows, row, x)
      }
      for row in 0..<8 {
        let exact = dot(downRows, row, hidden)
        // Sums of 8 and 6 terms in Float32: a few ULP of their magnitude.
        #expect(abs(Double(outputs[token, row]) - exact) <= 1e-4 * max(1, abs(exact)))
      }
    }
    #expect(expert.apply(inputs, threads: 3) == outputs)
  }
}

/// An expert's matrices, as its products with the identity say.
private struct DecodedExpert {
  let gate: Matrix
  let up: Matrix
  let down: Matrix

  init(
    _ checkpoint: any Checkpoint, _ layout: ModelLayout, _ expert: Int, _ layer: MoELayer
  ) throws {
    let packed = try ExpertReader(checkpoint, layout: layout).packed(of: expert, in: layer)
    (gate, up, down) = (
      Self.matrix(packed.gate), Self.matrix(packed.up), Self.matrix(packed.down)
    )
  }

  private static func matrix(_ packed: PackedMatrix) -> Matrix {
    Matrix(rows: packed.rows, columns: packed.columns) { result in
      for column in 0..<packed.columns {
        let unit = MatrixView(rows: 1, columns: packed.columns)
        unit.fill(0)
        unit[0, column] = 1
        let product = MatrixView(rows: 1, columns: packed.rows)
        product.multiply(unit, transposed: packed)
        for row in 0..<packed.rows { result[row, column] = product[0, row] }
      }
    }
  }
}
