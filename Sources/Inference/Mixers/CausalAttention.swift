// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention over groups of sequences, however queries, keys and values are made:
//
//   1. blocks of tokens   norm, then the kind's own projections, head norms and rotation
//   2. (sequence, key head), for each head that shares it
//                         scores = scale · q kᵀ, causal and windowed softmax, to which a sink of
//                         the head may add a term without a value, context = p v
//   3. blocks of tokens   output projection, added to the hidden states
//
// Every phase's blocks depend on the sequences only, so results do not depend on the threads.

import ByteStorage
import Tensors

/// What a group of sequences needs between the phases.
protocol AttentionGroup: Sendable {
  var tokens: Range<Int> { get }
  /// [tokens, heads · key size].
  var queries: MatrixView { get }
  /// [tokens, heads · value size].
  var context: MatrixView { get }
}

/// A kind of softmax attention, loaded.
protocol CausalAttention: LoadedMixer {
  associatedtype Group: AttentionGroup

  var shape: AttentionShape { get }
  /// Floats per token in a group.
  var floatsPerToken: Int { get }
  var output: OutputProjection { get }
  /// Of each query head, where there are any.
  var sinks: [Float]? { get }

  func makeGroup(_ tokens: Range<Int>) -> Group

  /// Writes queries, keys and values of `inputs` [n,H] to rows `rows` of the group.
  func project(
    _ inputs: MatrixView, _ rows: Range<Int>, positions: ArraySlice<Int32>, _ group: Group)

  /// A key head's keys [n, key size] and values [n, value size] for rows `rows` of the group.
  func keysAndValues(
    _ keyHead: Int, _ rows: Range<Int>, _ group: Group
  ) -> (keys: MatrixView, values: MatrixView)
}

/// Takes the heads' contexts back to hidden states.
struct OutputProjection: Sendable {
  /// [H, heads · value size].
  let weight: PackedMatrix
  let bias: [Float]?

  init(
    _ shape: AttentionShape, hidden: Int, bias presence: Presence, layer: Int,
    _ reader: WeightReader, threads: Int
  ) throws(RegateError) {
    weight = try reader.matrix(
      .output, layer: layer, rows: hidden, columns: shape.context, threads: threads)
    bias = try reader.bias(.output, layer: layer, count: hidden, presence)
  }
}

enum AttentionBlocks {
  /// Tokens per block of a projection, and query positions per block of scores.
  static let tokens = 512
  static let queries = 128
  /// Floats that a group's queries, keys, values and context may take: 64 MB.
  static let groupFloats = 16 << 20

  /// Bytes of the largest group of `tokens` tokens.
  static func bytes(tokens: Int, floatsPerToken: Int) -> Int {
    4 * min(groupFloats, tokens * floatsPerToken)
  }
}

extension CausalAttention {
  package func run(
    _ stream: ResidualStream, _ batch: TokenBatch, threads: Int, progress: ProgressCounter
  ) -> Bool {
    var isFinite = true
    let limit = max(1, AttentionBlocks.groupFloats / floatsPerToken)
    for sequences in batch.groups(limit: limit) {
      let group = makeGroup(batch.tokens(of: sequences))
      let outcomes = mapBlocks(
        count: group.tokens.count, blockSize: AttentionBlocks.tokens, threads: threads
      ) { _, rows in
        let tokens = group.tokens.part(rows)
        let (inputs, isFinite) = stream.inputs(tokens)
        project(inputs, rows, positions: batch.positions[tokens], group)
        return isFinite
      }
      isFinite = isFinite && outcomes.allSatisfy { $0 }
      let count = sequences.count * shape.keyHeads
      forEachBlock(count: count, blockSize: 1, threads: threads) { index, _ in
        let (sequence, keyHead) = index.quotientAndRemainder(dividingBy: shape.keyHeads)
        attend(keyHead, batch.sequences[sequences.lowerBound + sequence], group)
      }
      forEachBlock(
        count: group.tokens.count, blockSize: AttentionBlocks.tokens, threads: threads
      ) { _, rows in
        stream.add(
          group.context[rows], through: output.weight, bias: output.bias,
          to: group.tokens.part(rows))
      }
      progress.advance(group.tokens.count)
    }
    return isFinite
  }

  /// The contexts of the heads that share a key head, over one sequence.
  private func attend(_ keyHead: Int, _ sequence: Range<Int>, _ group: Group) {
    let first = group.tokens.lowerBound
    let rows = sequence.lowerBound - first..<sequence.upperBound - first
    let (size, valueSize) = (shape.keySize, shape.valueSize)
    let sharing = shape.heads / shape.keyHeads
    let (keyView, valueView) = keysAndValues(keyHead, rows, group)
    let uses = sharing * rows.count
    let keys = PackedMatrix(keyView, uses: uses)
    let values = PackedMatrix(transposing: valueView, uses: uses)
    let window = shape.window ?? sequence.count
    let buffer = MatrixView(
      rows: min(AttentionBlocks.queries, sequence.count), columns: sequence.count)
    for head in keyHead * sharing..<(keyHead + 1) * sharing {
      let queries = group.queries[rows, head * size..<(head + 1) * size]
      let context = group.context[rows, head * valueSize..<(head + 1) * valueSize]
      for start in stride(from: 0, to: sequence.count, by: AttentionBlocks.queries) {
        let end = min(start + AttentionBlocks.queries, sequence.count)
        let unit = PackedMatrix.columnUnit
        let visible = max(0, start - window + 1) / unit * unit..<end
        let scores = buffer[0..<end - start, 0..<visible.count]
        scores.multiply(queries[start..<end], transposed: keys[visible, 0..<size])
        scores.softmax(scale: shape.scale, sink: sinks?[head] ?? -.infinity) { row in
          let last = start + row
          return max(0, last - window + 1) - visible.lowerBound..<last + 1 - visible.lowerBound
        }
        context[start..<end].multiply(scores, transposed: values[0..<valueSize, visible])
      }
    }
  }
}

extension Range<Int> {
  /// The elements numbered `rows` of the range.
  fileprivate func part(_ rows: Range<Int>) -> Range<Int> {
    lowerBound + rows.lowerBound..<lowerBound + rows.upperBound
  }
}
