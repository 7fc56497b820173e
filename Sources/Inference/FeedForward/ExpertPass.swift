// SPDX-License-Identifier: Apache-2.0
//
// One pass over the experts of a layer: each is decoded once and applied to the tokens that need
// it, whatever set or stream they are of. Memory is one decoded expert and its outputs per worker,
// and what `LayerExperts` keeps.

import Architectures
package import ByteStorage
import Routing
package import Tensors

package struct ExpertPass: Sendable {
  /// Tokens with inputs of their own: a set of tokens, or one of several streams.
  package struct Batch: Sendable {
    /// [T,H]
    package let inputs: Matrix
    /// The rows of `inputs` that each expert is applied to, [E].
    package let tokensOfExpert: [[Int]]

    package init(inputs: Matrix, tokensOfExpert: [[Int]]) {
      self.inputs = inputs
      self.tokensOfExpert = tokensOfExpert
    }
  }

  private let source: LayerExperts
  /// Whether no other pass comes after this one.
  private let isLast: Bool
  private let threads: Int
  /// Called after each expert.
  private let progress: @Sendable () -> Void

  package init(
    _ source: LayerExperts, isLast: Bool = true, threads: Int,
    progress: @escaping @Sendable () -> Void
  ) {
    self.source = source
    self.isLast = isLast
    self.threads = threads
    self.progress = progress
  }

  /// Applies every expert that has tokens to their rows and hands its outputs [rows,H] to
  /// `consume`: expert after expert, and batch after batch for each, whatever the number of
  /// threads.
  package func run(
    _ batches: [Batch],
    consume: (_ batch: Int, _ expert: Int, _ tokens: [Int], _ outputs: Matrix) -> Void
  ) throws(RegateError) {
    let experts = source.layer.rule.experts
    let used = (0..<experts).filter { expert in
      batches.contains { !$0.tokensOfExpert[expert].isEmpty }
    }
    var next = 0
    while next < used.count {
      // Outputs are consumed in expert order, so the group size cannot change a sum.
      let group = Array(used[next..<min(next + threads, used.count)])
      let outputs = mapBlocks(count: group.count, blockSize: 1, threads: threads) { index, _ in
        apply(group[index], to: batches)
      }
      for (expert, output) in zip(group, outputs) {
        for (batch, rows) in try output.get().enumerated() {
          guard let rows else { continue }
          consume(batch, expert, batches[batch].tokensOfExpert[expert], rows)
        }
        progress()
      }
      next += group.count
    }
    for _ in used.count..<experts { progress() }
  }

  /// The outputs for each batch; nil where it has no token for the expert.
  private func apply(_ expert: Int, to batches: [Batch]) -> Result<[Matrix?], RegateError> {
    do throws(RegateError) {
      let weights = try isLast ? source.take(expert) : source.borrow(expert)
      var outputs: [Matrix?] = []
      for batch in batches {
        let tokens = batch.tokensOfExpert[expert]
        outputs.append(
          tokens.isEmpty ? nil : weights.apply(batch.inputs.gathering(rows: tokens), threads: 1))
      }
      return .success(outputs)
    } catch {
      return .failure(error)
    }
  }
}
