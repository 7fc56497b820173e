// SPDX-License-Identifier: Apache-2.0
//
// Mixers whose heads work apart from one another, over groups of sequences:
//
//   1. blocks of tokens   norm, then the kind's own projections
//   2. (sequence, head)   the kind's own way for tokens to see those before them
//   3. blocks of tokens   output projection, added to the hidden states
//
// Every phase's blocks depend on the sequences only, so results do not depend on the threads.

import ByteStorage
import Tensors

/// What a group of sequences needs between the phases.
protocol MixerGroup: Sendable {
  var tokens: Range<Int> { get }
  /// What the heads give, side by side [tokens, C].
  var context: MatrixView { get }
}

/// A mixer whose heads work apart from one another, loaded.
protocol HeadwiseMixer: LoadedMixer {
  associatedtype Group: MixerGroup

  /// Heads, or sets of them, that are mixed apart.
  var headCount: Int { get }
  /// Floats per token in a group.
  var floatsPerToken: Int { get }
  var output: OutputProjection { get }

  func makeGroup(_ tokens: Range<Int>) -> Group

  /// Writes what is projected of `inputs` [n,H] to rows `rows` of the group.
  func project(
    _ inputs: MatrixView, _ rows: Range<Int>, positions: ArraySlice<Int32>, _ group: Group)

  /// Writes the context of a head over one sequence, which is rows `rows` of the group.
  func mix(_ head: Int, _ rows: Range<Int>, _ group: Group)
}

/// Takes the heads' contexts back to hidden states.
struct OutputProjection: Sendable {
  /// [H,C].
  let weight: PackedMatrix
  let bias: [Float]?

  init(
    _ name: WeightName, width: Int, hidden: Int, bias presence: Presence, layer: Int,
    _ reader: WeightReader, threads: Int
  ) throws(RegateError) {
    weight = try reader.matrix(name, layer: layer, rows: hidden, columns: width, threads: threads)
    bias = try reader.bias(name, layer: layer, count: hidden, presence)
  }
}

enum MixerBlocks {
  /// Tokens per block of a projection.
  static let tokens = 512
  /// Floats that a group may take: 64 MB.
  static let groupFloats = 16 << 20

  /// Bytes of the largest group of `tokens` tokens.
  static func bytes(tokens: Int, floatsPerToken: Int) -> Int {
    4 * min(groupFloats, tokens * floatsPerToken)
  }
}

extension HeadwiseMixer {
  package func run(
    _ stream: ResidualStream, _ batch: TokenBatch, threads: Int, progress: ProgressCounter
  ) -> Bool {
    var isFinite = true
    let limit = max(1, MixerBlocks.groupFloats / floatsPerToken)
    for sequences in batch.groups(limit: limit) {
      let group = makeGroup(batch.tokens(of: sequences))
      let outcomes = mapBlocks(
        count: group.tokens.count, blockSize: MixerBlocks.tokens, threads: threads
      ) { _, rows in
        let tokens = group.tokens.part(rows)
        let (inputs, isFinite) = stream.inputs(tokens)
        project(inputs, rows, positions: batch.positions[tokens], group)
        return isFinite
      }
      isFinite = isFinite && outcomes.allSatisfy { $0 }
      let count = sequences.count * headCount
      forEachBlock(count: count, blockSize: 1, threads: threads) { index, _ in
        let (number, head) = index.quotientAndRemainder(dividingBy: headCount)
        let sequence = batch.sequences[sequences.lowerBound + number]
        let first = group.tokens.lowerBound
        mix(head, sequence.lowerBound - first..<sequence.upperBound - first, group)
      }
      forEachBlock(
        count: group.tokens.count, blockSize: MixerBlocks.tokens, threads: threads
      ) { _, rows in
        stream.add(
          group.context[rows], through: output.weight, bias: output.bias,
          to: group.tokens.part(rows))
      }
      progress.advance(group.tokens.count)
    }
    return isFinite
  }
}

extension Range<Int> {
  /// The elements numbered `rows` of the range.
  fileprivate func part(_ rows: Range<Int>) -> Range<Int> {
    lowerBound + rows.lowerBound..<lowerBound + rows.upperBound
  }
}
