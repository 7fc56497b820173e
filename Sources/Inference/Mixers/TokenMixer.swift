// SPDX-License-Identifier: Apache-2.0
//
// The first part of a layer, in which tokens see one another: h += Mix(norm(h)). A kind of mixer is
// one file or two in this folder: it reads its sizes from a model's settings, says what memory a
// layer takes, loads a layer's weights, and runs them on sequences. Layers of one model may have
// mixers of different kinds.

package import ByteStorage

/// The token mixer of a layer, told from settings alone.
package protocol TokenMixer: Sendable {
  /// Bytes of the weights of `layer`, as they are multiplied.
  func weightBytes(layer: Int, in reader: WeightReader) -> Int

  /// Bytes of the buffers that `tokens` tokens need at most, beside their hidden states.
  func bufferBytes(tokens: Int) -> Int

  /// Decodes the weights of `layer`; throws where one is absent or has another shape than the
  /// settings say.
  func load(
    layer: Int, from reader: WeightReader, ropes: RopeTables, threads: Int
  ) throws(RegateError) -> any LoadedMixer
}

/// A layer's token mixer with its weights.
package protocol LoadedMixer: Sendable {
  /// Adds the mixer's output for all tokens of `batch` to `stream`; sequences never see each other.
  /// Reports each token once to `progress`. Returns whether all that it read was finite.
  ///
  /// Work is cut into blocks by the sequences alone, so results do not depend on `threads`.
  func run(
    _ stream: ResidualStream, _ batch: TokenBatch, threads: Int, progress: ProgressCounter
  ) -> Bool
}
