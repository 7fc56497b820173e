// SPDX-License-Identifier: Apache-2.0
//
// Softmax attention of one key head over one sequence, however queries, keys and values are made:
// for each head that shares it, scores = scale · q kᵀ, causal and windowed softmax, to which a sink
// of the head may add a term without a value, context = p v, which a gate may weigh.

import ByteStorage
import Tensors

/// What softmax attention needs of a group of sequences.
protocol AttentionGroup: MixerGroup {
  /// [tokens, heads · key size].
  var queries: MatrixView { get }
  /// What weighs the context, of the same shape, by its sigmoid; nil: nothing does.
  var gates: MatrixView? { get }
}

/// A kind of softmax attention, loaded.
protocol CausalAttention: HeadwiseMixer where Group: AttentionGroup {
  var shape: AttentionShape { get }
  /// Of each query head, where there are any.
  var sinks: [Float]? { get }

  /// A key head's keys [n, key size] and values [n, value size] for rows `rows` of the group.
  func keysAndValues(
    _ keyHead: Int, _ rows: Range<Int>, _ group: Group
  ) -> (keys: MatrixView, values: MatrixView)
}

/// Query positions per block of scores.
private let blockQueries = 128

extension CausalAttention {
  var headCount: Int { shape.keyHeads }

  /// The contexts of the heads that share a key head.
  func mix(_ keyHead: Int, _ rows: Range<Int>, _ group: Group) {
    let (size, valueSize) = (shape.keySize, shape.valueSize)
    let sharing = shape.heads / shape.keyHeads
    let (keyView, valueView) = keysAndValues(keyHead, rows, group)
    let uses = sharing * rows.count
    let keys = PackedMatrix(keyView, uses: uses)
    let values = PackedMatrix(transposing: valueView, uses: uses)
    let window = shape.window ?? rows.count
    let buffer = MatrixView(
      rows: min(blockQueries, rows.count), columns: rows.count)
    for head in keyHead * sharing..<(keyHead + 1) * sharing {
      let queries = group.queries[rows, head * size..<(head + 1) * size]
      let context = group.context[rows, head * valueSize..<(head + 1) * valueSize]
      for start in stride(from: 0, to: rows.count, by: blockQueries) {
        let end = min(start + blockQueries, rows.count)
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
      if let gates = group.gates {
        context.multiply(bySigmoidOf: gates[rows, head * valueSize..<(head + 1) * valueSize])
      }
    }
  }
}
