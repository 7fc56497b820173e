// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import Tensors

extension GatedDeltaNet {
  /// A layer's delta net with its weights.
  struct Layer: HeadwiseMixer {
    let mixer: GatedDeltaNet
    private let input: Projections
    /// [kernel, channels], the oldest token's first.
    private let convolution: MatrixView
    private let norm: [Float]
    let output: OutputProjection

    var headCount: Int { mixer.keyHeads }
    var floatsPerToken: Int { mixer.floatsPerToken }

    init(
      _ mixer: GatedDeltaNet, layer: Int, _ reader: WeightReader, threads: Int
    ) throws(RegateError) {
      self.mixer = mixer
      input = try Projections(mixer, layer: layer, reader, threads: threads)
      let stored = try reader.convolution(
        layer: layer, channels: mixer.channels, kernel: mixer.kernel)
      convolution = MatrixView(rows: mixer.kernel, columns: mixer.channels)
      convolution.copyTransposed(try stored.panel(threads: threads))
      norm = try reader.vector(.deltaNorm, layer: layer, count: mixer.valueSize)
      output = try OutputProjection(
        .deltaOutput, width: mixer.values, hidden: mixer.hiddenSize, bias: .absent, layer: layer,
        reader, threads: threads)
    }
  }

  struct Group: MixerGroup {
    let tokens: Range<Int>
    /// Before the convolution [tokens, channels].
    let inputs: MatrixView
    /// [tokens, values].
    let gates: MatrixView
    /// Strengths and decays of each value head [tokens, value heads], before what bounds them.
    let strengths: MatrixView
    let decays: MatrixView
    /// A head's context takes its gate's place, which is needed last.
    var context: MatrixView { gates }
  }

  private struct Projections: Sendable {
    /// [channels, H], [values, H], [value heads, H] twice.
    let inputs: PackedMatrix, gate: PackedMatrix, strength: PackedMatrix, decay: PackedMatrix
    /// Of each value head: a decay is scale · softplus(projected + bias), below 0.
    let decayScale: [Float], decayBias: [Float]

    init(
      _ mixer: GatedDeltaNet, layer: Int, _ reader: WeightReader, threads: Int
    ) throws(RegateError) {
      let (hidden, heads) = (mixer.hiddenSize, mixer.valueHeads)
      func matrix(_ name: WeightName, _ rows: Int) throws(RegateError) -> PackedMatrix {
        try reader.matrix(name, layer: layer, rows: rows, columns: hidden, threads: threads)
      }
      if try reader.joins(.deltaJoined, [.deltaInputs, .deltaGate], layer: layer) {
        let all = try reader.stored(
          .deltaJoined, layer: layer, rows: mixer.channels + mixer.values, columns: hidden)
        let rows = mixer.joinedRows
        inputs = try all.packed(rows: rows.inputs, threads: threads)
        gate = try all.packed(rows: rows.gates, threads: threads)
      } else {
        inputs = try matrix(.deltaInputs, mixer.channels)
        gate = try matrix(.deltaGate, mixer.values)
      }
      if try reader.joins(.deltaRates, [.deltaStrength, .deltaDecay], layer: layer) {
        let all = try reader.stored(
          .deltaRates, layer: layer, rows: 2 * heads, columns: hidden)
        let rows = mixer.joinedRates
        strength = try all.packed(rows: rows.strengths, threads: threads)
        decay = try all.packed(rows: rows.decays, threads: threads)
      } else {
        strength = try matrix(.deltaStrength, heads)
        decay = try matrix(.deltaDecay, heads)
      }
      let scale = try reader.plainVector(.decayScale, layer: layer, count: heads)
      // llama.cpp's converter has done this.
      decayScale = reader.layout.container == .gguf ? scale : scale.map { -exp($0) }
      decayBias = try reader.plainVector(
        .decayBias, layer: layer, count: heads, ggufSuffix: "bias")
    }
  }

  /// Rows of the matrix in which each key head has its query, its key, the values of its value
  /// heads and their gates.
  private var joinedRows: (inputs: [Int32], gates: [Int32]) {
    let (width, values) = (2 * keySize + 2 * sharing * valueSize, sharing * valueSize)
    func rows(_ part: Range<Int>) -> [Int32] {
      (0..<keyHeads).flatMap { head in part.map { Int32(head * width + $0) } }
    }
    let first = 2 * keySize
    return (
      rows(0..<keySize) + rows(keySize..<first) + rows(first..<first + values),
      rows(first + values..<width)
    )
  }

  /// Rows of the matrix in which each key head has its value heads' strengths, then their decays.
  private var joinedRates: (strengths: [Int32], decays: [Int32]) {
    let strengths = (0..<valueHeads).map { Int32($0 / sharing * 2 * sharing + $0 % sharing) }
    return (strengths, strengths.map { $0 + Int32(sharing) })
  }
}

extension GatedDeltaNet.Layer {
  func makeGroup(_ tokens: Range<Int>) -> GatedDeltaNet.Group {
    func panel(_ columns: Int) -> MatrixView { MatrixView(rows: tokens.count, columns: columns) }
    return GatedDeltaNet.Group(
      tokens: tokens, inputs: panel(mixer.channels), gates: panel(mixer.values),
      strengths: panel(mixer.valueHeads), decays: panel(mixer.valueHeads))
  }

  func project(
    _ inputs: MatrixView, _ rows: Range<Int>, positions: ArraySlice<Int32>,
    _ group: GatedDeltaNet.Group
  ) {
    group.inputs[rows].multiply(inputs, transposed: input.inputs)
    group.gates[rows].multiply(inputs, transposed: input.gate)
    group.strengths[rows].multiply(inputs, transposed: input.strength)
    group.decays[rows].multiply(inputs, transposed: input.decay)
  }

  /// The contexts of the value heads that share a key head.
  func mix(_ keyHead: Int, _ rows: Range<Int>, _ group: GatedDeltaNet.Group) {
    let (size, valueSize) = (mixer.keySize, mixer.valueSize)
    let heads = mixer.valueHeads(of: keyHead)
    let rule = DeltaRule(heads: heads.count, keySize: size, valueSize: valueSize)
    let limit = min(DeltaRule.chunk, rows.count)
    let pairBuffer = MatrixView(rows: 2 * limit, columns: size)
    let valueBuffer = MatrixView(rows: limit, columns: heads.count * valueSize)
    let inputs = group.inputs[rows]
    let query = keyHead * size
    for start in stride(from: 0, to: rows.count, by: limit) {
      let tokens = start..<min(start + limit, rows.count)
      let count = tokens.count
      let pairs = pairBuffer[0..<2 * count]
      let values = valueBuffer[0..<count]
      convolve(inputs, query..<query + size, tokens, into: pairs[0..<count])
      convolve(
        inputs, mixer.keys + query..<mixer.keys + query + size, tokens,
        into: pairs[count..<2 * count])
      for (place, head) in heads.enumerated() {
        let first = 2 * mixer.keys + head * valueSize
        convolve(
          inputs, first..<first + valueSize, tokens,
          into: values.columns(place * valueSize..<(place + 1) * valueSize))
      }
      normaliseLengths(pairs)
      let stored = rows.lowerBound + start..<rows.lowerBound + start + count
      rule.advance(pairs, values: values, rates: heads.map { rates($0, stored, group) })
      for (place, head) in heads.enumerated() {
        let outputs = values.columns(place * valueSize..<(place + 1) * valueSize)
        outputs.normalise(outputs, weight: norm, epsilon: mixer.epsilon)
        group.gates[stored, head * valueSize..<(head + 1) * valueSize].apply(.silu, up: outputs)
      }
    }
  }

  /// silu of the convolution of some channels of a sequence's `inputs`, at `tokens`.
  private func convolve(
    _ inputs: MatrixView, _ channels: Range<Int>, _ tokens: Range<Int>, into target: MatrixView
  ) {
    target.fill(0)
    for tap in 0..<mixer.kernel {
      let back = mixer.kernel - 1 - tap
      // Before the first token there is nothing.
      let seen = max(tokens.lowerBound, back)..<max(tokens.upperBound, back)
      guard seen.lowerBound < seen.upperBound else { continue }
      target[seen.lowerBound - tokens.lowerBound..<seen.upperBound - tokens.lowerBound].add(
        inputs[seen.lowerBound - back..<seen.upperBound - back, channels],
        times: convolution[tap..<tap + 1, channels])
    }
    target.multiply(bySigmoidOf: target)
  }

  /// Queries to length 1 over the root of the size, which scales their products, and keys to 1. A
  /// root mean square is a length over the root of the size.
  private func normaliseLengths(_ pairs: MatrixView) {
    let size = Float(mixer.keySize)
    let (half, epsilon) = (pairs.rows / 2, mixer.lengthEpsilon / size)
    for (part, length) in [
      (pairs[0..<half], 1 / size), (pairs[half..<2 * half], 1 / size.squareRoot()),
    ] {
      part.normalise(
        part, weight: [Float](repeating: length, count: mixer.keySize), epsilon: epsilon)
    }
  }

  /// A value head's strengths, between 0 and 1, and decays, below 0.
  private func rates(
    _ head: Int, _ tokens: Range<Int>, _ group: GatedDeltaNet.Group
  ) -> DeltaRule.Rates {
    let (scale, bias) = (input.decayScale[head], input.decayBias[head])
    return DeltaRule.Rates(
      decay: tokens.map { token in
        let value = group.decays[token, head] + bias
        return scale * (value > 20 ? value : log1p(exp(value)))
      },
      strength: tokens.map { 1 / (1 + exp(-group.strengths[$0, head])) })
  }
}
