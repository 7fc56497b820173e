// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import Inference
import Routing
import Tensors
import TestSupport
import Testing

@Suite("Forward pass") struct ForwardPassTests {
  private static func random(_ counts: [Int], vocabulary: Int) -> [[Int]] {
    var generator = SeededGenerator(seed: 7)
    return counts.map { count in
      (0..<count).map { _ in Int.random(in: 0..<vocabulary, using: &generator) }
    }
  }

  @Test(arguments: ["mixtral-window", "deepseek-v2", "gguf-qwen2-shared-gate"])
  func `results do not depend on the number of threads`(name: String) throws {
    let model = try Variant(name).model
    // More tokens than a block, and sequences longer than a block of queries.
    let sequences = Self.random([150, 3, 290, 64, 1], vocabulary: model.vocabularySize)
    let results = try [1, 2, 3].map { threads in
      let pass = try ForwardPass(model, sequences: sequences, threads: threads)
      try pass.finish()
      return (try pass.scores()[0].nll, try pass.logits(at: [0, 152, 443]))
    }
    #expect(results.allSatisfy { $0.0 == results[0].0 && $0.1 == results[0].1 })
  }

  @Test(arguments: [PassMemory(hidden: .max, copies: .max), PassMemory(hidden: 0, copies: 0)])
  func `results do not depend on what lies in files`(memory: PassMemory) throws {
    let variant = try Variant("olmoe")
    func scores(_ memory: PassMemory) throws -> [[Double]] {
      let pass = try ForwardPass(
        variant.model, sequences: variant.sequences, streams: 2, threads: 2, memory: memory)
      try Self.finishDiverging(pass)
      return try pass.scores().map { $0.nll + $0.divergence }
    }
    #expect(try scores(memory) == scores(PassMemory()))
  }

  /// A dense layer of width 128, plain and quantised, in parts of 32.
  @Test(arguments: [TinyModel.deepseek.path + "/model.safetensors", TinyModel.deepseek.gguf])
  func `wide networks can be taken in parts`(path: String) throws {
    let checkpoint: any Checkpoint =
      path.hasSuffix(".gguf")
      ? try GGUFCheckpoint(path: path) : try SafetensorsCheckpoint(path: path)
    let model = try InferenceModel(checkpoint, layout: try ModelLayout.read(checkpoint))
    let sequences = Self.random([40, 24], vocabulary: model.vocabularySize)
    func logits(_ memory: PassMemory) throws -> Matrix {
      let pass = try ForwardPass(model, sequences: sequences, threads: 2, memory: memory)
      try pass.finish()
      return try pass.logits(at: Array(0..<64))
    }
    let difference = try logits(PassMemory()).largestDifference(to: logits(PassMemory(dense: 0)))
    // Another order of sums, and nothing else.
    #expect(difference > 0 && difference < 1e-4)
  }

  @Test(arguments: ["mixtral-window", "deepseek-v3-fp8", "qwen3-yarn-dense"])
  func `sequences never see each other`(name: String) throws {
    let variant = try Variant(name)
    let together = try variant.pass().logits(at: Array(0..<variant.logits.rows))
    var first = 0
    for sequence in variant.sequences {
      let pass = try ForwardPass(variant.model, sequences: [sequence], threads: 1)
      try pass.finish()
      let alone = try pass.logits(at: Array(sequence.indices))
      let same = together.gathering(rows: Array(first..<first + sequence.count))
      #expect(alone.largestDifference(to: same) < 1e-5)
      first += sequence.count
    }
  }

  @Test func `a token's logits do not depend on what follows it`() throws {
    let model = try Variant("mixtral-llama3-tied").model
    let long = Self.random([200], vocabulary: model.vocabularySize)[0]
    let logits = try [200, 131].map { count in
      let pass = try ForwardPass(model, sequences: [Array(long[..<count])], threads: 1)
      try pass.finish()
      return try pass.logits(at: [5, 130])
    }
    #expect(logits[0].largestDifference(to: logits[1]) < 1e-5)
  }

  @Test func `a sliding window hides what is further back`() throws {
    let model = try Variant("mixtral-window").model
    var ids = Self.random([40], vocabulary: model.vocabularySize)[0]
    func logits() throws -> Matrix {
      let pass = try ForwardPass(model, sequences: [ids], threads: 1)
      try pass.finish()
      return try pass.logits(at: [10, 11])
    }
    let before = try logits()
    ids[0] = (ids[0] + 1) % model.vocabularySize
    let after = try logits()
    // Two layers of window 6 reach back 2 · 5 positions: token 10 still sees token 0, 11 does not.
    #expect(before.row(0) != after.row(0))
    #expect(before.row(1) == after.row(1))
  }

  @Test func `scores agree with sums over the logits`() throws {
    let variant = try Variant("qwen3-fused-linear")
    let pass = try ForwardPass(
      variant.model, sequences: variant.sequences, streams: 2, threads: 2)
    try Self.finishDiverging(pass)
    let all = Array(0..<pass.tokenCount)
    let logits = try [pass.logits(at: all), pass.logits(at: all, stream: 1)]
    let scores = try pass.scores()
    let ids = variant.sequences.flatMap { $0 }
    let last = Set([variant.sequences[0].count - 1, ids.count - 1])
    for (index, position) in all.filter({ !last.contains($0) }).enumerated() {
      let p = logits.map { Self.logProbabilities($0.row(position)) }
      for stream in 0..<2 {
        #expect(abs(scores[stream].nll[index] + p[stream][ids[position + 1]]) < 1e-5)
      }
      let divergence = zip(p[0], p[1]).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
      #expect(abs(scores[1].divergence[index] - divergence) < 1e-5)
      let best = p.map { values in values.indices.max { values[$0] < values[$1] } }
      #expect(scores[1].agrees[index] == (best[0] == best[1]))
    }
    #expect(scores[1].meanDivergence > 0.01)
  }

  private static func logProbabilities(_ logits: ArraySlice<Float>) -> [Double] {
    let largest = Double(logits.max() ?? 0)
    let sum = logits.reduce(0) { $0 + exp(Double($1) - largest) }
    return logits.map { Double($0) - largest - log(sum) }
  }

  /// Runs all layers, stream 1 with the chosen experts' weights exchanged.
  private static func finishDiverging(_ pass: ForwardPass) throws {
    while pass.layer < pass.model.layerCount {
      try pass.attention()
      guard pass.moeLayer != nil else {
        try pass.applyDense()
        continue
      }
      let router = try pass.originalRouter()
      let first = router.route(pass.routerInputs(stream: 0), threads: 1)
      var second = router.route(pass.routerInputs(stream: 1), threads: 1)
      for token in 0..<second.tokens {
        second.weights.swapAt(token * second.topK, token * second.topK + 1)
      }
      let errors = try pass.applyExperts([first, second], errorsOn: [nil, [3, 5]])
      #expect(errors.allSatisfy { $0[0] == .none })
      let (overall, worst) = (try #require(errors[0][1].overall), try #require(errors[0][1].worst))
      #expect(overall > 0.01 && worst.value >= overall)
      let ofTwo = try #require(errors[1][1].worst)
      #expect([3, 5].contains(ofTwo.row) && ofTwo.value <= worst.value)
    }
  }

  @Test func `a stream that routes as the original stays the original`() throws {
    let variant = try Variant("olmoe")
    let alone = try variant.pass().scores()[0]
    let shared = try variant.pass(streams: 3).scores()
    #expect(shared.count == 3 && shared.allSatisfy { $0.nll == alone.nll })
    #expect(shared[2].divergence.allSatisfy { $0 == 0 })
  }

  @Test func `clones serve as the expert that they stand for`() throws {
    let variant = try Variant("olmoe")
    let original = try variant.pass().scores()[0]
    let pass = try ForwardPass(variant.model, sequences: variant.sequences, streams: 2, threads: 1)
    while let layer = pass.moeLayer {
      try pass.attention()
      let router = try pass.originalRouter()
      let assignments = (0..<2).map { router.route(pass.routerInputs(stream: $0), threads: 1) }
      // Stream 1 lays its experts down in reverse, and routes to the places where they went.
      var moved = assignments[1]
      let last = Int32(layer.rule.experts - 1)
      moved.experts = moved.experts.map { last - $0 }
      let map = Array((0..<layer.rule.experts).reversed())
      try pass.applyExperts([assignments[0], moved], maps: [nil, map])
    }
    let scores = try pass.scores()
    // Streams share matrix products, and a BLAS may round a row by where it lies in one.
    for stream in scores {
      #expect(zip(stream.nll, original.nll).allSatisfy { abs($0 - $1) < 1e-6 })
    }
  }

  @Test func `weights of two clones of one expert add up`() throws {
    let variant = try Variant("olmoe")
    func nll(experts: [Int32], weights: [Float], map: [Int]) throws -> [Double] {
      let pass = try ForwardPass(variant.model, sequences: variant.sequences, threads: 1)
      while pass.layer < variant.model.layerCount {
        try pass.attention()
        let count = pass.tokenCount
        try pass.applyExperts(
          [
            Assignment(
              tokens: count, topK: experts.count,
              experts: (0..<count).flatMap { _ in experts },
              weights: (0..<count).flatMap { _ in weights })
          ], maps: [map])
      }
      return try pass.scores()[0].nll
    }
    let clones = try nll(experts: [1, 3], weights: [0.25, 0.5], map: [0, 2, 2, 2])
    let single = try nll(experts: [2], weights: [0.75], map: [0, 1, 2, 3])
    #expect(clones == single)
  }

  @Test func `a pass continues from its saved state`() throws {
    let variant = try Variant("deepseek-v2")
    let whole = try ForwardPass(variant.model, sequences: variant.sequences, threads: 1)
    try whole.advance()
    var state: [Float] = []
    try whole.withState(stream: 0) { state += $0 }
    try whole.finish()
    let resumed = try ForwardPass(variant.model, sequences: variant.sequences, threads: 1)
    let width = variant.model.hiddenSize
    try resumed.restore(layer: 1, distinctStreams: 1) { _, rows in
      Array(state[rows.lowerBound * width..<rows.upperBound * width])
    }
    #expect(resumed.layer == 1)
    try resumed.finish()
    #expect(try resumed.scores()[0].nll == whole.scores()[0].nll)
  }

  @Test func `progress reaches its total`() throws {
    let variant = try Variant("qwen3-yarn-dense")
    let seen = Locked([ForwardProgress]())
    let pass = try ForwardPass(variant.model, sequences: variant.sequences, threads: 2) { step in
      seen.withLock { $0.append(step) }
    }
    try pass.finish()
    _ = try pass.scores()
    let steps = seen.withLock { $0 }
    #expect(steps.map(\.completed) == steps.map(\.completed).sorted())
    #expect(steps.last?.completed == steps.last?.total)
    #expect(Set(steps.map(\.stage)) == ["layer 1 of 2", "layer 2 of 2", "output head"])
  }
}
