// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Tensors

extension MultiHeadLatentAttention {
  /// A layer's attention with its weights.
  struct Layer: CausalAttention {
    private let mixer: MultiHeadLatentAttention
    private let rope: RopeTable
    private let input: Projections
    let output: OutputProjection
    var sinks: [Float]? { nil }

    var shape: AttentionShape { mixer.shape }
    var floatsPerToken: Int { mixer.floatsPerToken }

    init(
      _ mixer: MultiHeadLatentAttention, layer: Int, _ reader: WeightReader, _ rope: RopeTable,
      threads: Int
    ) throws(RegateError) {
      self.mixer = mixer
      self.rope = rope
      input = try Projections(mixer, layer: layer, reader, threads: threads)
      output = try OutputProjection(
        .output, width: mixer.shape.context, hidden: mixer.hiddenSize, bias: mixer.outputBias,
        layer: layer, reader, threads: threads)
    }
  }

  struct Group: AttentionGroup {
    let tokens: Range<Int>
    let queries: MatrixView
    /// Each head's unrotated keys, then its values [tokens, heads · (nope + value size)].
    let expanded: MatrixView
    /// The rotated key of all heads [tokens, rotated].
    let sharedKeys: MatrixView
    let context: MatrixView
    var gates: MatrixView? { nil }
  }

  private struct Projections: Sendable {
    /// [rank, H], the rank's norm, and [heads · key size, rank]; without a bottleneck only the
    /// last, [heads · key size, H].
    let queryDown: PackedMatrix?, queryDownNorm: [Float], queryUp: PackedMatrix
    let queryDownBias: [Float]?
    /// [rank + rotated, H], [rank], [heads · (nope + value size), rank].
    let keyValueDown: PackedMatrix, keyValueDownNorm: [Float], keyValueUp: PackedMatrix
    let keyValueDownBias: [Float]?

    init(
      _ mixer: MultiHeadLatentAttention, layer: Int, _ reader: WeightReader, threads: Int
    ) throws(RegateError) {
      let (queries, hidden, keyRank) = (mixer.shape.queries, mixer.hiddenSize, mixer.keyRank)
      if let rank = mixer.queryRank {
        queryDown = try reader.matrix(
          .queryDown, layer: layer, rows: rank, columns: hidden, threads: threads)
        queryDownNorm = try reader.vector(.queryDownNorm, layer: layer, count: rank)
        queryDownBias = try reader.bias(.queryDown, layer: layer, count: rank, mixer.biases)
        queryUp = try reader.matrix(
          .queryUp, layer: layer, rows: queries, columns: rank, threads: threads)
      } else {
        (queryDown, queryDownNorm, queryDownBias) = (nil, [], nil)
        queryUp = try reader.matrix(
          .query, layer: layer, rows: queries, columns: hidden, threads: threads)
      }
      let compressed = keyRank + mixer.rope.dimensions
      keyValueDown = try reader.matrix(
        .keyValueDown, layer: layer, rows: compressed, columns: hidden, threads: threads)
      keyValueDownBias = try reader.bias(
        .keyValueDown, layer: layer, count: compressed, mixer.biases)
      keyValueDownNorm = try reader.vector(.keyValueDownNorm, layer: layer, count: keyRank)
      keyValueUp =
        reader.has(.keyUp, layer: layer)
        ? try Self.joined(mixer, layer: layer, reader, threads: threads)
        : try reader.matrix(
          .keyValueUp, layer: layer, rows: mixer.expanded, columns: keyRank, threads: threads)
    }

    /// llama.cpp's split form, `attn_k_b` [heads, rank, nope] and `attn_v_b` [heads, value, rank],
    /// as the one matrix that it was made of: each head's nope rows, then its value rows.
    private static func joined(
      _ mixer: MultiHeadLatentAttention, layer: Int, _ reader: WeightReader, threads: Int
    ) throws(RegateError) -> PackedMatrix {
      let (heads, size) = (mixer.shape.heads, mixer.shape.valueSize)
      let (rank, nope) = (mixer.keyRank, mixer.nope)
      let keys = try reader.stored(
        .keyUp, layer: layer, rows: heads * rank, columns: nope, shape: [heads, rank, nope])
      let values = try reader.stored(
        .valueUp, layer: layer, rows: heads * size, columns: rank, shape: [heads, size, rank])
      let precision: ProductPrecision =
        keys.precision == values.precision ? keys.precision : .full
      let (keyView, valueView) = (
        try keys.panel(threads: threads), try values.panel(threads: threads)
      )
      let result = MatrixView(rows: mixer.expanded, columns: rank)
      forEachBlock(count: heads, blockSize: 1, threads: threads) { head, _ in
        let first = head * (nope + size)
        result[first..<first + nope].copyTransposed(keyView[head * rank..<(head + 1) * rank])
        result[first + nope..<first + nope + size].copy(
          valueView[head * size..<(head + 1) * size])
      }
      return PackedMatrix(packing: result, precision: precision)
    }
  }
}

extension MultiHeadLatentAttention.Layer {
  func makeGroup(_ tokens: Range<Int>) -> MultiHeadLatentAttention.Group {
    let count = tokens.count
    return MultiHeadLatentAttention.Group(
      tokens: tokens, queries: MatrixView(rows: count, columns: shape.queries),
      expanded: MatrixView(rows: count, columns: mixer.expanded),
      sharedKeys: MatrixView(rows: count, columns: mixer.rope.dimensions),
      context: MatrixView(rows: count, columns: shape.context))
  }

  func project(
    _ inputs: MatrixView, _ rows: Range<Int>, positions: ArraySlice<Int32>,
    _ group: MultiHeadLatentAttention.Group
  ) {
    projectQueries(inputs, group.queries[rows], positions)
    let narrow = MatrixView(rows: rows.count, columns: input.keyValueDown.rows)
    narrow.multiply(inputs, transposed: input.keyValueDown)
    if let bias = input.keyValueDownBias { narrow.add(toEachRow: bias) }
    let sharedKeys = group.sharedKeys[rows]
    sharedKeys.copy(narrow.columns(mixer.keyRank..<narrow.columns))
    rope.rotate(sharedKeys, positions: positions)
    let content = narrow.columns(0..<mixer.keyRank)
    content.normalise(content, weight: input.keyValueDownNorm, epsilon: mixer.epsilon)
    group.expanded[rows].multiply(content, transposed: input.keyValueUp)
  }

  private func projectQueries(
    _ inputs: MatrixView, _ queries: MatrixView, _ positions: ArraySlice<Int32>
  ) {
    if let down = input.queryDown {
      let narrow = MatrixView(rows: inputs.rows, columns: down.rows)
      narrow.multiply(inputs, transposed: down)
      if let bias = input.queryDownBias { narrow.add(toEachRow: bias) }
      narrow.normalise(narrow, weight: input.queryDownNorm, epsilon: mixer.epsilon)
      queries.multiply(narrow, transposed: input.queryUp)
    } else {
      queries.multiply(inputs, transposed: input.queryUp)
    }
    for head in 0..<shape.heads {
      let end = (head + 1) * shape.keySize
      rope.rotate(queries.columns(end - mixer.rope.dimensions..<end), positions: positions)
    }
    rope.grow(queries, positions: positions)
  }

  /// Keys are put together from their two parts.
  func keysAndValues(
    _ keyHead: Int, _ rows: Range<Int>, _ group: MultiHeadLatentAttention.Group
  ) -> (keys: MatrixView, values: MatrixView) {
    let (size, valueSize, nope) = (shape.keySize, shape.valueSize, mixer.nope)
    let middle = keyHead * (nope + valueSize) + nope
    let keys = MatrixView(rows: rows.count, columns: size)
    keys.columns(0..<nope).copy(group.expanded[rows, middle - nope..<middle])
    keys.columns(nope..<size).copy(group.sharedKeys[rows])
    return (keys, group.expanded[rows, middle..<middle + valueSize])
  }
}
