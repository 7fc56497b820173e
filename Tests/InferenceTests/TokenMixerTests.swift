// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Inference
import Tensors
import TestSupport
import Testing

/// What a pass asks of a token mixer, shown with mixers made by hand.
@Suite("Token mixers") struct TokenMixerTests {
  /// Adds each token's own normalised state and those before it in its sequence, averaged.
  private struct RunningMean: TokenMixer, LoadedMixer {
    func weightBytes(layer: Int, in reader: WeightReader) -> Int { 0 }
    func bufferBytes(tokens: Int) -> Int { 0 }
    func load(
      layer: Int, from reader: WeightReader, ropes: RopeTables, threads: Int
    ) -> any LoadedMixer { self }

    func run(
      _ stream: ResidualStream, _ batch: TokenBatch, threads: Int, progress: ProgressCounter
    ) -> Bool {
      var isFinite = true
      for sequence in batch.sequences {
        let (inputs, finite) = stream.inputs(sequence)
        isFinite = isFinite && finite
        var sums = [Float](repeating: 0, count: inputs.columns)
        let means = MatrixView(rows: inputs.rows, columns: inputs.columns)
        for row in 0..<inputs.rows {
          for column in sums.indices {
            sums[column] += inputs[row, column]
            means[row, column] = sums[column] / Float(row + 1)
          }
        }
        stream.add(means, to: sequence)
      }
      progress.advance(batch.count)
      return isFinite
    }
  }

  /// Adds nothing.
  private struct Silent: TokenMixer, LoadedMixer {
    func weightBytes(layer: Int, in reader: WeightReader) -> Int { 0 }
    func bufferBytes(tokens: Int) -> Int { 0 }
    func load(
      layer: Int, from reader: WeightReader, ropes: RopeTables, threads: Int
    ) -> any LoadedMixer { self }
    func run(
      _ stream: ResidualStream, _ batch: TokenBatch, threads: Int, progress: ProgressCounter
    ) -> Bool {
      progress.advance(batch.count)
      return true
    }
  }

  /// Another mixer that counts its loads and the streams that went through it.
  private final class Counted: TokenMixer {
    let loads = Locked(0)
    func weightBytes(layer: Int, in reader: WeightReader) -> Int { 1 << 30 }
    func bufferBytes(tokens: Int) -> Int { 8 * tokens }
    func load(
      layer: Int, from reader: WeightReader, ropes: RopeTables, threads: Int
    ) -> any LoadedMixer {
      loads.withLock { $0 += 1 }
      return Silent()
    }
  }

  private static func logits(
    _ model: InferenceModel, _ sequences: [[Int]]
  ) throws -> Matrix {
    let pass = try ForwardPass(model, sequences: sequences, threads: 2)
    try pass.finish()
    return try pass.logits(at: Array(0..<pass.tokenCount))
  }

  @Test func `a mixer that adds nothing is attention with an output of zeros`() throws {
    let variant = try Variant("mixtral-window")
    let altered = try AlteredModel(
      "mixtral-window",
      tensors: { name, _, _, bytes in
        if name == "model.layers.0.self_attn.o_proj.weight" {
          bytes = [UInt8](repeating: 0, count: bytes.count)
        }
        return true
      })
    let replaced = variant.model.replacing(mixer: Silent(), ofLayer: 0)
    let expected = try Self.logits(altered.model(), variant.sequences)
    #expect(try Self.logits(replaced, variant.sequences) == expected)
    #expect(try Self.logits(variant.model, variant.sequences) != expected)
  }

  @Test func `a new kind runs beside attention, causal and sequence by sequence`() throws {
    let variant = try Variant("deepseek-v2")
    let model = variant.model.replacing(mixer: RunningMean(), ofLayer: 1)
    var ids = variant.sequences[0]
    let before = try Self.logits(model, [ids, ids])
    let last = ids.count - 1
    let (first, second) = (before.gathering(rows: [0]), before.gathering(rows: [ids.count]))
    #expect(first.largestDifference(to: second) < 1e-5)
    ids[last] = (ids[last] + 1) % model.vocabularySize
    let after = try Self.logits(model, [ids])
    // A product's bits may depend on how many rows there are.
    let difference = (0...last).map { row in
      after.gathering(rows: [row]).largestDifference(to: before.gathering(rows: [row]))
    }
    #expect(difference[..<last].allSatisfy { $0 < 1e-5 })
    #expect(difference[last] > 1e-3)
    #expect(try Self.logits(variant.model, [ids]) != after)
  }

  @Test func `a layer's weights are loaded once for all streams, and counted`() throws {
    let variant = try Variant("olmoe")
    let counted = Counted()
    let model = variant.model.replacing(mixer: counted, ofLayer: 0)
    let pass = try ForwardPass(model, sequences: variant.sequences, streams: 3, threads: 2)
    try pass.finish()
    #expect(counted.loads.withLock { $0 } == 1)
    #expect(model.workingBytes(tokens: 10, streams: 1, threads: 1) == (1 << 30) + 80)
  }
}
