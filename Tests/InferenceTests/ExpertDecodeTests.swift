// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Inference
import Routing
import Tensors
import TestSupport
import Testing

/// Decoding is the costliest part of a pass: each expert of a layer is decoded once, whatever goes
/// through it.
@Suite("Experts are decoded once") struct ExpertDecodeTests {
  /// Sequences of 64 tokens with more rows per expert than one task takes (4096).
  private static func sequences(_ model: InferenceModel) -> [[Int]] {
    var generator = SeededGenerator(seed: 5)
    return (0..<200).map { _ in
      (0..<64).map { _ in Int.random(in: 0..<model.vocabularySize, using: &generator) }
    }
  }

  @Test(arguments: ["olmoe", "deepseek-v3-fp8", "gguf-qwen2-shared-gate"])
  func `a layer's expert is decoded once for all tokens, streams and threads`(
    name: String
  ) throws {
    let model = try Variant(name).model
    let log = WorkLog()
    let pass = try WorkLog.$current.withValue(log) {
      try ForwardPass(model, sequences: Self.sequences(model), streams: 2, threads: 3)
    }
    while pass.layer < model.layerCount {
      try pass.attention()
      guard let layer = pass.moeLayer else {
        try pass.applyDense()
        continue
      }
      let router = try pass.originalRouter()
      let first = pass.route(router, stream: 0)
      var second = pass.route(router, stream: 1)
      second.weights = second.weights.map { $0 / 2 }
      let used = Set(first.experts).union(second.experts)
      try pass.applyExperts([first, second], errorsOn: [nil])
      let decodings = log.expertDecodings(layer: layer.index)
      #expect(Set(decodings.keys) == Set(used.map { Int($0) }))
      #expect(decodings.values.allSatisfy { $0 == 1 })
    }
  }

  @Test func `a pass over one layer's experts decodes those that have tokens`() throws {
    let variant = try Variant("olmoe").model
    let model = Model(checkpoint: variant.checkpoint, layout: variant.layout)
    let layer = try #require(model.layout.layers.first)
    let log = WorkLog()
    let steps = Locked(0)
    let source = try WorkLog.$current.withValue(log) {
      LayerExperts(layer, try ExpertReader(model.checkpoint, layout: model.layout))
    }
    let pass = ExpertPass(source, threads: 3) { steps.withLock { $0 += 1 } }
    var generator = SeededGenerator(seed: 9)
    let inputs = Matrix(
      rows: 6, columns: layer.hiddenSize,
      values: (0..<6 * layer.hiddenSize).map { _ in Float.random(in: -1...1, using: &generator) })
    let experts = layer.rule.experts
    var some = [[Int]](repeating: [0, 3, 5], count: experts)
    some[1] = []
    // Two sets of tokens share the decoded experts; the second needs the first expert only.
    let first = [[4]] + [[Int]](repeating: [], count: experts - 1)
    var order: [[Int]] = []
    try pass.run([some, first].map { .init(inputs: inputs, tokensOfExpert: $0) }) {
      batch, expert, rows, outputs in
      order.append([batch, expert])
      #expect(rows == (batch == 0 ? [0, 3, 5] : [4]) && outputs.rows == rows.count)
    }
    #expect(order == [[0, 0], [1, 0]] + (2..<experts).map { [0, $0] })
    let decodings = log.expertDecodings(layer: layer.index)
    #expect(decodings.count == experts - 1 && decodings.values.allSatisfy { $0 == 1 })
    #expect(log.expertDecodings(layer: layer.index + 1).isEmpty)
    #expect(steps.withLock { $0 } == experts)
  }

  /// Room for none, for three, and for all.
  @Test(arguments: [0, 3, 64])
  func `sampled experts stay decoded as far as memory allows`(_ room: Int) throws {
    let variant = try Variant("olmoe").model
    let layer = try #require(variant.layout.layers.first)
    let log = WorkLog()
    let reader = try WorkLog.$current.withValue(log) {
      try ExpertReader(variant.checkpoint, layout: variant.layout)
    }
    let source = LayerExperts(layer, reader, memory: room * reader.packedBytes(of: layer))
    let experts = layer.rule.experts
    let inputs = Matrix(
      rows: 1, columns: layer.hiddenSize, values: (0..<layer.hiddenSize).map { Float($0 % 5) })
    let all = [[Int]](repeating: [0], count: experts)
    func outputs(isLast: Bool) throws -> [Matrix] {
      var found: [Matrix] = []
      try ExpertPass(source, isLast: isLast, threads: 2) {}
        .run([.init(inputs: inputs, tokensOfExpert: all)]) { _, _, _, rows in found.append(rows) }
      return found
    }
    let sampled = try outputs(isLast: false)
    #expect(try outputs(isLast: true) == sampled)
    let decodings = log.expertDecodings(layer: layer.index)
    for expert in 0..<experts { #expect(decodings[expert] == (expert < room ? 1 : 2)) }
    // Nothing is kept after the last pass.
    _ = try outputs(isLast: true)
    #expect(log.expertDecodings(layer: layer.index)[0] == (room > 0 ? 2 : 3))
  }
}
