// SPDX-License-Identifier: Apache-2.0
//
// A pass between two layers is its hidden states and nothing else: with them it can be continued in
// another process. They are handed out and taken back in blocks of rows, never as a second copy.

package import ByteStorage
import Tensors

extension ForwardPass {
  /// Streams with hidden states of their own: 1 until routings differ, then `streams`.
  package var distinctStreams: Int { hidden.count }

  /// Rows of a block that states are handed out and taken back in, and that are routed at a time.
  static let blockRows = 4096

  /// Hands the hidden states [T,H] of a distinct stream before the next layer to `body`, block
  /// after block of rows; not between a layer's attention and its experts.
  package func withState(
    stream: Int, _ body: ([Float]) throws(RegateError) -> Void
  ) throws(RegateError) {
    precondition(!isAfterAttention && stream >= 0 && stream < hidden.count)
    for start in stride(from: 0, to: tokenCount, by: Self.blockRows) {
      try body(hidden[stream][start..<min(start + Self.blockRows, tokenCount)].matrix.values)
    }
  }

  /// Continues a pass over the same sequences that had come to `layer` with so many distinct
  /// streams; `rows` gives the hidden states of some rows of a stream, row after row.
  package func restore(
    layer: Int, distinctStreams: Int,
    rows: (_ stream: Int, _ rows: Range<Int>) throws(RegateError) -> [Float]
  ) throws(RegateError) {
    precondition(layer >= 0 && layer <= model.layerCount && !isAfterAttention)
    precondition(distinctStreams == 1 || distinctStreams == streams)
    while hidden.count < distinctStreams {
      hidden.append(newStates())
    }
    for (stream, panel) in hidden.enumerated() {
      for start in stride(from: 0, to: tokenCount, by: Self.blockRows) {
        let block = start..<min(start + Self.blockRows, tokenCount)
        panel[block].copy(
          MatrixView(
            Matrix(
              rows: block.count, columns: model.hiddenSize, values: try rows(stream, block))))
      }
    }
    self.layer = layer
    progress.skip(tokenCount * streams * 2 * layer)
  }
}
