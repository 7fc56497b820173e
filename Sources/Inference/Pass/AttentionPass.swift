// SPDX-License-Identifier: Apache-2.0
//
// One layer's attention, h += Attn(RMSNorm(h)), over groups of sequences:
//
//   1. blocks of tokens   norm, query/key/value projections, head norms, rotation
//   2. (sequence, key head), for each head that shares it
//                         scores = scale · q kᵀ, causal and windowed softmax, context = p v
//   3. blocks of tokens   output projection, added to h
//
// Every phase's blocks depend on the sequences only, so results do not depend on the threads.
// Latent attention keeps its keys in two parts: per head the unrotated one, shared the rotated one.

import ByteStorage
import Tensors

struct AttentionPass {
  let model: InferenceModel
  let layer: Int
  let weights: AttentionWeights
  let batch: TokenBatch
  let cosine: MatrixView
  let sine: MatrixView
  let threads: Int

  /// Tokens per block of a projection, and query positions per block of scores.
  private static let blockTokens = 512
  private static let blockQueries = 128
  /// Floats that a group's queries, keys, values and context may take: 64 MB.
  static let groupFloats = 16 << 20

  private var shape: AttentionShape { model.attention }

  /// What a group of sequences needs between the phases.
  private struct Group {
    let tokens: Range<Int>
    /// [tokens, heads · key size].
    let queries: MatrixView
    /// [tokens, keyHeads · key size]; latent: each head's unrotated keys, then its values.
    let keys: MatrixView
    /// [tokens, keyHeads · value size]; latent: a window on `keys`.
    let values: MatrixView
    /// Latent: the rotated key of all heads [tokens, rotated].
    let sharedKeys: MatrixView?
    /// [tokens, heads · value size].
    let context: MatrixView
  }

  /// Adds the attention's output to `hidden` [T,H]. Returns whether all of `hidden` was finite.
  func run(_ hidden: MatrixView, progress: ProgressCounter) -> Bool {
    var finite = true
    for sequences in batch.groups(limit: max(1, Self.groupFloats / shape.floatsPerToken)) {
      let tokens =
        batch.sequences[sequences.lowerBound]
        .lowerBound..<batch.sequences[sequences.upperBound - 1].upperBound
      let group = makeGroup(tokens)
      let outcomes = mapBlocks(
        count: tokens.count, blockSize: Self.blockTokens, threads: threads
      ) { _, rows in project(hidden, rows, group) }
      finite = finite && outcomes.allSatisfy { $0 }
      let count = sequences.count * shape.keyHeads
      forEachBlock(count: count, blockSize: 1, threads: threads) { index, _ in
        let (sequence, keyHead) = index.quotientAndRemainder(dividingBy: shape.keyHeads)
        attend(keyHead, batch.sequences[sequences.lowerBound + sequence], group)
      }
      forEachBlock(
        count: tokens.count, blockSize: Self.blockTokens, threads: threads
      ) { _, rows in
        let first = tokens.lowerBound + rows.lowerBound
        let target = hidden[first..<first + rows.count]
        target.multiply(group.context[rows], transposed: weights.output, adding: true)
        if let bias = weights.outputBias { target.add(toEachRow: bias) }
      }
      progress.advance(tokens.count)
    }
    return finite
  }

  private func makeGroup(_ tokens: Range<Int>) -> Group {
    let (count, heads) = (tokens.count, shape.heads)
    let queries = MatrixView(rows: count, columns: heads * shape.keySize)
    guard let latent = shape.latent else {
      return Group(
        tokens: tokens, queries: queries,
        keys: MatrixView(rows: count, columns: shape.keyHeads * shape.keySize),
        values: MatrixView(rows: count, columns: shape.keyHeads * shape.valueSize), sharedKeys: nil,
        // A head's context may take its queries' place: it is written after they were used.
        context: queries)
    }
    let keys = MatrixView(rows: count, columns: heads * (latent.nope + shape.valueSize))
    return Group(
      tokens: tokens, queries: queries, keys: keys, values: keys,
      sharedKeys: MatrixView(rows: count, columns: shape.rope.dimensions),
      context: MatrixView(rows: count, columns: heads * shape.valueSize))
  }

  // MARK: Projections

  private func project(_ hidden: MatrixView, _ rows: Range<Int>, _ group: Group) -> Bool {
    let first = group.tokens.lowerBound + rows.lowerBound
    let tokens = first..<first + rows.count
    let inputs = MatrixView(rows: rows.count, columns: hidden.columns)
    let finite = inputs.normalise(
      hidden[tokens], weight: weights.inputNorm, epsilon: model.epsilon)
    switch weights.projections {
    case .grouped(let weights): project(inputs, rows, tokens, group, weights)
    case .latent(let weights): project(inputs, rows, tokens, group, weights)
    }
    return finite
  }

  private func project(
    _ inputs: MatrixView, _ rows: Range<Int>, _ tokens: Range<Int>, _ group: Group,
    _ weights: AttentionWeights.Grouped
  ) {
    let parts = [
      (group.queries[rows], weights.query, weights.queryBias),
      (group.keys[rows], weights.key, weights.keyBias),
      (group.values[rows], weights.value, weights.valueBias),
    ]
    for (target, weight, bias) in parts {
      target.multiply(inputs, transposed: weight)
      if let bias { target.add(toEachRow: bias) }
    }
    finish(group.queries[rows], heads: shape.heads, norm: weights.queryNorm, tokens)
    finish(group.keys[rows], heads: shape.keyHeads, norm: weights.keyNorm, tokens)
  }

  /// Norms and rotates the heads of `values`.
  private func finish(_ values: MatrixView, heads: Int, norm: [Float]?, _ tokens: Range<Int>) {
    let size = shape.keySize
    let isWhole = norm.map { $0.count == values.columns && heads > 1 } ?? false
    if let norm, isWhole { values.normalise(values, weight: norm, epsilon: model.epsilon) }
    for head in 0..<heads {
      let part = values.columns(head * size..<(head + 1) * size)
      if let norm, !isWhole { part.normalise(part, weight: norm, epsilon: model.epsilon) }
      rotate(part.columns(0..<shape.rope.dimensions), tokens)
    }
  }

  private func rotate(_ values: MatrixView, _ tokens: Range<Int>) {
    values.rotate(
      cosine: cosine, sine: sine, positions: batch.positions[tokens],
      interleaved: shape.rope.interleaved)
  }

  private func project(
    _ inputs: MatrixView, _ rows: Range<Int>, _ tokens: Range<Int>, _ group: Group,
    _ weights: AttentionWeights.Latent
  ) {
    guard let latent = shape.latent, let sharedKeys = group.sharedKeys?[rows] else { return }
    let queries = group.queries[rows]
    if let down = weights.queryDown {
      let narrow = MatrixView(rows: rows.count, columns: down.rows)
      narrow.multiply(inputs, transposed: down)
      if let bias = weights.queryDownBias { narrow.add(toEachRow: bias) }
      narrow.normalise(narrow, weight: weights.queryDownNorm, epsilon: latent.epsilon)
      queries.multiply(narrow, transposed: weights.queryUp)
    } else {
      queries.multiply(inputs, transposed: weights.queryUp)
    }
    for head in 0..<shape.heads {
      let end = (head + 1) * shape.keySize
      rotate(queries.columns(end - shape.rope.dimensions..<end), tokens)
    }
    let narrow = MatrixView(rows: rows.count, columns: weights.keyValueDown.rows)
    narrow.multiply(inputs, transposed: weights.keyValueDown)
    if let bias = weights.keyValueDownBias { narrow.add(toEachRow: bias) }
    sharedKeys.copy(narrow.columns(latent.keyRank..<narrow.columns))
    rotate(sharedKeys, tokens)
    let content = narrow.columns(0..<latent.keyRank)
    content.normalise(content, weight: weights.keyValueDownNorm, epsilon: latent.epsilon)
    group.keys[rows].multiply(content, transposed: weights.keyValueUp)
  }

  // MARK: Attention

  /// The contexts of the heads that share a key head, over one sequence.
  private func attend(_ keyHead: Int, _ sequence: Range<Int>, _ group: Group) {
    let rows =
      sequence.lowerBound - group.tokens.lowerBound..<sequence.upperBound - group.tokens.lowerBound
    let (size, valueSize) = (shape.keySize, shape.valueSize)
    let sharing = shape.heads / shape.keyHeads
    let (keyView, valueView) = keysAndValues(keyHead, rows, group)
    let uses = sharing * rows.count
    let keys = PackedMatrix(keyView, uses: uses)
    let values = PackedMatrix(transposing: valueView, uses: uses)
    let window = model.windows[layer] ?? sequence.count
    let buffer = MatrixView(
      rows: min(Self.blockQueries, sequence.count), columns: sequence.count)
    for head in keyHead * sharing..<(keyHead + 1) * sharing {
      let queries = group.queries[rows, head * size..<(head + 1) * size]
      let context = group.context[rows, head * valueSize..<(head + 1) * valueSize]
      for start in stride(from: 0, to: sequence.count, by: Self.blockQueries) {
        let end = min(start + Self.blockQueries, sequence.count)
        let unit = PackedMatrix.columnUnit
        let visible = max(0, start - window + 1) / unit * unit..<end
        let scores = buffer[0..<end - start, 0..<visible.count]
        scores.multiply(queries[start..<end], transposed: keys[visible, 0..<size])
        scores.softmax(scale: shape.scale) { row in
          let last = start + row
          return max(0, last - window + 1) - visible.lowerBound..<last + 1 - visible.lowerBound
        }
        context[start..<end].multiply(scores, transposed: values[0..<valueSize, visible])
      }
    }
  }

  /// A key head's keys [tokens, key size] and values [tokens, value size]; latent keys are put
  /// together from their two parts.
  private func keysAndValues(
    _ keyHead: Int, _ rows: Range<Int>, _ group: Group
  ) -> (keys: MatrixView, values: MatrixView) {
    let (size, valueSize) = (shape.keySize, shape.valueSize)
    guard let latent = shape.latent, let shared = group.sharedKeys?[rows] else {
      return (
        group.keys[rows, keyHead * size..<(keyHead + 1) * size],
        group.values[rows, keyHead * valueSize..<(keyHead + 1) * valueSize]
      )
    }
    let middle = keyHead * (latent.nope + valueSize) + latent.nope
    let keys = MatrixView(rows: rows.count, columns: size)
    keys.columns(0..<latent.nope).copy(group.keys[rows, middle - latent.nope..<middle])
    keys.columns(latent.nope..<size).copy(shared)
    return (keys, group.keys[rows, middle..<middle + valueSize])
  }
}
