// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Tensors

extension GroupedQueryAttention {
  /// A layer's attention with its weights.
  struct Layer: CausalAttention {
    private let mixer: GroupedQueryAttention
    private let rope: RopeTable
    private let input: Projections
    private let norms: HeadNorms?
    let output: OutputProjection
    let sinks: [Float]?

    var shape: AttentionShape { mixer.shape }
    var floatsPerToken: Int { mixer.floatsPerToken }

    init(
      _ mixer: GroupedQueryAttention, layer: Int, _ reader: WeightReader, _ rope: RopeTable,
      threads: Int
    ) throws(RegateError) {
      self.mixer = mixer
      self.rope = rope
      input = try Projections(mixer, layer: layer, reader, threads: threads)
      norms = try HeadNorms(mixer, layer: layer, reader)
      output = try OutputProjection(
        .output, width: mixer.shape.context, hidden: mixer.hiddenSize, bias: mixer.outputBias,
        layer: layer, reader, threads: threads)
      sinks =
        mixer.hasSinks
        ? try reader.plainVector(
          .sinks, layer: layer, count: mixer.shape.heads, ggufSuffix: "weight") : nil
    }
  }

  struct Group: AttentionGroup {
    let tokens: Range<Int>
    let queries: MatrixView
    let gates: MatrixView?
    /// [tokens, keyHeads · key size], [tokens, keyHeads · value size].
    let keys: MatrixView
    let values: MatrixView
    /// A head's context may take its queries' place: it is written after they were used.
    var context: MatrixView { queries }
  }

  private struct Projections: Sendable {
    /// [heads · size, H], [keyHeads · size, H] twice.
    let query: PackedMatrix, key: PackedMatrix
    /// Nil where values are keys.
    let value: PackedMatrix?
    let queryBias: [Float]?, keyBias: [Float]?, valueBias: [Float]?
    /// [heads · size, H], where contexts have gates.
    let gate: PackedMatrix?
    let gateBias: [Float]?

    init(
      _ mixer: GroupedQueryAttention, layer: Int, _ reader: WeightReader, threads: Int
    ) throws(RegateError) {
      let (shape, hidden) = (mixer.shape, mixer.hiddenSize)
      let (queries, keys) = (mixer.queryRows, shape.keys)
      let (queryBias, stored): ([Float]?, StoredMatrix)
      if reader.has(.queryKeyValue, layer: layer) {
        let all = try reader.stored(
          .queryKeyValue, layer: layer, rows: queries + 2 * keys, columns: hidden)
        stored = all
        key = try all.packed(rows: queries..<queries + keys, threads: threads)
        value = try all.packed(rows: queries + keys..<queries + 2 * keys, threads: threads)
        let bias = try reader.bias(
          .queryKeyValue, layer: layer, count: queries + 2 * keys, mixer.biases)
        queryBias = bias.map { Array($0[..<queries]) }
        keyBias = bias.map { Array($0[queries..<queries + keys]) }
        valueBias = bias.map { Array($0[(queries + keys)...]) }
      } else {
        stored = try reader.stored(.query, layer: layer, rows: queries, columns: hidden)
        key = try reader.matrix(.key, layer: layer, rows: keys, columns: hidden, threads: threads)
        value =
          mixer.sharesValues
          ? nil
          : try reader.matrix(.value, layer: layer, rows: keys, columns: hidden, threads: threads)
        queryBias = try reader.bias(.query, layer: layer, count: queries, mixer.biases)
        keyBias = try reader.bias(.key, layer: layer, count: keys, mixer.biases)
        valueBias =
          mixer.sharesValues
          ? nil : try reader.bias(.value, layer: layer, count: keys, mixer.biases)
      }
      guard mixer.gatesContext else {
        query = try stored.packed(rows: 0..<queries, threads: threads)
        self.queryBias = queryBias
        (gate, gateBias) = (nil, nil)
        return
      }
      let rows = Self.gatedRows(shape)
      query = try stored.packed(rows: rows.queries, threads: threads)
      gate = try stored.packed(rows: rows.gates, threads: threads)
      self.queryBias = queryBias.map { bias in rows.queries.map { bias[Int($0)] } }
      gateBias = queryBias.map { bias in rows.gates.map { bias[Int($0)] } }
    }

    /// The rows of queries and gates, which take turns head by head.
    private static func gatedRows(_ shape: AttentionShape) -> (queries: [Int32], gates: [Int32]) {
      let size = shape.keySize
      let queries = (0..<shape.queries).map { Int32($0 / size * 2 * size + $0 % size) }
      return (queries, queries.map { $0 + Int32(size) })
    }
  }

  /// Weights of the norms over queries and keys: one for all heads, or of the whole width.
  private struct HeadNorms: Sendable {
    let query: [Float]
    let key: [Float]

    /// Nil where the mixer has none.
    init?(
      _ mixer: GroupedQueryAttention, layer: Int, _ reader: WeightReader
    ) throws(RegateError) {
      let shape = mixer.shape
      let widths: (query: Int, key: Int)
      switch mixer.norm {
      case .none: return nil
      case .perHead: widths = (shape.keySize, shape.keySize)
      case .wholeWidth: widths = (shape.queries, shape.keys)
      }
      query = try reader.norm(.queryNorm, layer: layer, count: widths.query)
      key = try reader.norm(.keyNorm, layer: layer, count: widths.key)
    }
  }
}

extension GroupedQueryAttention.Layer {
  func makeGroup(_ tokens: Range<Int>) -> GroupedQueryAttention.Group {
    GroupedQueryAttention.Group(
      tokens: tokens, queries: MatrixView(rows: tokens.count, columns: shape.queries),
      gates: mixer.gatesContext ? MatrixView(rows: tokens.count, columns: shape.queries) : nil,
      keys: MatrixView(rows: tokens.count, columns: shape.keys),
      values: MatrixView(rows: tokens.count, columns: shape.keyHeads * shape.valueSize))
  }

  func project(
    _ inputs: MatrixView, _ rows: Range<Int>, positions: ArraySlice<Int32>,
    _ group: GroupedQueryAttention.Group
  ) {
    var parts = [
      (group.queries[rows], input.query, input.queryBias),
      (group.keys[rows], input.key, input.keyBias),
    ]
    if let value = input.value { parts.append((group.values[rows], value, input.valueBias)) }
    if let gates = group.gates, let gate = input.gate {
      parts.append((gates[rows], gate, input.gateBias))
    }
    for (target, weight, bias) in parts {
      target.multiply(inputs, transposed: weight)
      if let bias { target.add(toEachRow: bias) }
    }
    if input.value == nil { group.values[rows].copy(group.keys[rows]) }
    if mixer.normsValues { normaliseValues(group.values[rows]) }
    finish(group.queries[rows], heads: shape.heads, norm: norms?.query, positions)
    finish(group.keys[rows], heads: shape.keyHeads, norm: norms?.key, positions)
  }

  /// Norms and rotates the heads of `values`.
  private func finish(
    _ values: MatrixView, heads: Int, norm: [Float]?, _ positions: ArraySlice<Int32>
  ) {
    let (size, epsilon) = (shape.keySize, mixer.epsilon)
    if case .wholeWidth = mixer.norm, let norm {
      values.normalise(values, weight: norm, epsilon: epsilon)
    }
    for head in 0..<heads {
      let part = values.columns(head * size..<(head + 1) * size)
      if case .perHead = mixer.norm, let norm {
        part.normalise(part, weight: norm, epsilon: epsilon)
      }
      rope.rotate(part.columns(0..<mixer.rope.dimensions), positions: positions)
    }
  }

  /// Norms the heads of `values`, without a weight.
  private func normaliseValues(_ values: MatrixView) {
    let size = shape.valueSize
    let ones = [Float](repeating: 1, count: size)
    for head in 0..<shape.keyHeads {
      let part = values.columns(head * size..<(head + 1) * size)
      part.normalise(part, weight: ones, epsilon: mixer.epsilon)
    }
  }

  func keysAndValues(
    _ keyHead: Int, _ rows: Range<Int>, _ group: GroupedQueryAttention.Group
  ) -> (keys: MatrixView, values: MatrixView) {
    let (size, valueSize) = (shape.keySize, shape.valueSize)
    return (
      group.keys[rows, keyHead * size..<(keyHead + 1) * size],
      group.values[rows, keyHead * valueSize..<(keyHead + 1) * valueSize]
    )
  }
}
