// SPDX-License-Identifier: Apache-2.0
//
// What the variants of `fixtures/variants` do not show of gated delta nets: sequences of other
// lengths, and parts and sizes that are not there or not as they should be.

import ByteStorage
import Foundation
import Inference
import Tensors
import TestSupport
import Testing

@Suite("Gated delta nets") struct GatedDeltaNetTests {
  private static let net = "model.layers.0.linear_attn."

  /// One head's state, key by value.
  private typealias State = [[Double]]

  /// A value head's tokens.
  private struct Head {
    let values: Matrix
    let decay: [Float]
    let strength: [Float]

    func rates(_ tokens: Range<Int>) -> DeltaRule.Rates {
      .init(decay: Array(decay[tokens]), strength: Array(strength[tokens]))
    }
  }

  /// The rule token by token, in Double: the outputs of a head.
  private func outputs(
    queries: Matrix, keys: Matrix, _ head: Head
  ) -> [Double] {
    let values = head.values
    var state = State(
      repeating: [Double](repeating: 0, count: values.columns), count: keys.columns)
    return (0..<values.rows).flatMap { token in
      let kept = exp(Double(head.decay[token]))
      for key in state.indices { for value in state[key].indices { state[key][value] *= kept } }
      let told = (0..<values.columns).map { value in
        state.indices.reduce(0) { $0 + state[$1][value] * Double(keys[token, $1]) }
      }
      for key in state.indices {
        for value in told.indices {
          let wrong = Double(values[token, value]) - told[value]
          state[key][value] +=
            Double(keys[token, key]) * Double(head.strength[token]) * wrong
        }
      }
      return (0..<values.columns).map { value in
        state.indices.reduce(0) { $0 + state[$1][value] * Double(queries[token, $1]) }
      }
    }
  }

  @Test(arguments: [
    ("in_proj_qkvz", "in_proj_z", "in_proj_ba.weight"),
    ("in_proj_ba", "in_proj_a", "in_proj_qkvz.weight"),
  ])
  func `an absent joined matrix is named, with what could stand in its place`(
    joined: String, part: String, beside: String
  ) throws {
    let prefix = "model.layers.0.linear_attn."
    let altered = try AlteredModel(
      "qwen3-next", tensors: { name, _, _, _ in name != prefix + joined + ".weight" })
    let error = try #require(altered.refusal())
    #expect(error.code == .missing && error.subject == prefix + joined + ".weight")
    #expect(error.problem.contains(prefix + part + ".weight in its place; beside it are"))
    #expect(error.problem.contains(beside))
  }

  @Test(arguments: [1, DeltaRule.chunk, 2 * DeltaRule.chunk + 3])
  func `chunks give what tokens one by one do`(count: Int) {
    var generator = SeededGenerator(seed: UInt64(count))
    func matrix(_ columns: Int) -> Matrix {
      Matrix(
        rows: count, columns: columns,
        values: (0..<count * columns).map { _ in Float.random(in: -0.6...0.6, using: &generator) })
    }
    let (queries, keys) = (matrix(6), matrix(6))
    // The second head forgets all that is a few tokens old.
    let heads = [Float(0.05), 9].map { speed in
      Head(
        values: matrix(5),
        decay: (0..<count).map { _ in -speed * Float.random(in: 0...1, using: &generator) },
        strength: (0..<count).map { _ in Float.random(in: 0...1, using: &generator) })
    }
    let rule = DeltaRule(heads: 2, keySize: 6, valueSize: 5)
    let values = MatrixView(rows: count, columns: 10)
    for (place, head) in heads.enumerated() {
      values.columns(5 * place..<5 * (place + 1)).copy(MatrixView(head.values))
    }
    for start in stride(from: 0, to: count, by: DeltaRule.chunk) {
      let tokens = start..<min(start + DeltaRule.chunk, count)
      let pairs = MatrixView(rows: 2 * tokens.count, columns: 6)
      pairs[0..<tokens.count].copy(MatrixView(queries)[tokens])
      pairs[tokens.count..<2 * tokens.count].copy(MatrixView(keys)[tokens])
      rule.advance(
        pairs, values: values[tokens],
        rates: heads.map { $0.rates(tokens) })
    }
    for (place, head) in heads.enumerated() {
      let expected = outputs(queries: queries, keys: keys, head)
      let found = values.columns(5 * place..<5 * (place + 1)).matrix.values
      #expect(zip(found, expected).allSatisfy { abs(Double($0) - $1) < 1e-5 })
    }
  }

  @Test func `sequences do not see one another, and threads change nothing`() throws {
    let variant = try Variant("qwen3-next")
    func logits(_ sequences: [[Int]], threads: Int) throws -> Matrix {
      let pass = try ForwardPass(variant.model, sequences: sequences, threads: threads)
      try pass.finish()
      return try pass.logits(at: Array(0..<pass.tokenCount))
    }
    let both = try logits(variant.sequences, threads: 2)
    #expect(try logits(variant.sequences, threads: 1) == both)
    let alone = try logits([variant.sequences[1]], threads: 1)
    let first = variant.sequences[0].count
    #expect(both.gathering(rows: Array(first..<both.rows)).largestDifference(to: alone) < 1e-5)
  }

  @Test(arguments: [
    net + "in_proj_qkvz.weight", net + "in_proj_ba.weight", net + "conv1d.weight", net + "A_log",
    net + "dt_bias", net + "norm.weight", net + "out_proj.weight",
    "model.layers.1.self_attn.q_proj.weight",
  ])
  func `a part that is absent or misshapen is named`(name: String) throws {
    let (absent, misshapen) = try AlteredModel.refusals(of: "qwen3-next", part: name)
    #expect(absent?.code == .missing)
    // Without the joined matrix, those that it is made of are missed.
    if !name.contains("qkvz"), !name.contains("_ba") { #expect(absent?.subject == name) }
    #expect(misshapen?.subject == name && misshapen?.code == .mismatch)
  }

  @Test(arguments: [
    ("layer_types", #"["linear_attention", "chunked_attention"]"#),
    ("layer_types", #"["linear_attention"]"#), ("linear_num_value_heads", "3"),
    ("linear_conv_kernel_dim", "0"),
  ])
  func `a value that no net has is named`(key: String, value: String) throws {
    let parsed = try JSONSerialization.jsonObject(
      with: Data(value.utf8), options: .fragmentsAllowed)
    let altered = try AlteredModel("qwen3-next", config: { $0[key] = parsed })
    #expect(altered.refusal()?.subject == key)
  }

  @Test func `without layer_types every n-th layer has attention`() throws {
    let altered = try AlteredModel(
      "qwen3-next",
      config: {
        $0["layer_types"] = nil
        $0["full_attention_interval"] = 2
      })
    let variant = try Variant("qwen3-next")
    let pass = try ForwardPass(try altered.model(), sequences: variant.sequences, threads: 1)
    try pass.finish()
    let found = try pass.logits(at: Array(0..<pass.tokenCount))
    #expect(found.largestDifference(to: variant.logits) < 3e-5)
  }
}
