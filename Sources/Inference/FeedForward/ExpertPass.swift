// SPDX-License-Identifier: Apache-2.0
//
// One pass over the experts of a layer: each is decoded once, applied to the tokens that need it,
// and dropped. Memory is one decoded expert and its outputs per worker.

package import Architectures
package import ByteStorage
package import Tensors

package struct ExpertPass: Sendable {
  /// Loads and decodes one expert of the original checkpoint.
  package let load: @Sendable (_ expert: Int) throws(RegateError) -> ExpertWeights
  package let threads: Int
  /// Called after each expert.
  package let progress: @Sendable () -> Void

  /// Applies every expert that has tokens to their rows of `inputs` [T,H] and hands its outputs
  /// [rows,H] to `consume`, in the order of the experts whatever the number of threads.
  package func run(
    inputs: Matrix, tokensOfExpert: [[Int]],
    consume: (_ expert: Int, _ tokens: [Int], _ outputs: Matrix) -> Void
  ) throws(RegateError) {
    let experts = tokensOfExpert.indices.filter { !tokensOfExpert[$0].isEmpty }
    var next = 0
    while next < experts.count {
      // Outputs are consumed in expert order, so the group size cannot change a sum.
      let group = Array(experts[next..<min(next + threads, experts.count)])
      let outputs = mapBlocks(count: group.count, blockSize: 1, threads: threads) { index, _ in
        apply(group[index], to: inputs, tokens: tokensOfExpert[group[index]])
      }
      for (expert, output) in zip(group, outputs) {
        consume(expert, tokensOfExpert[expert], try output.get())
        progress()
      }
      next += group.count
    }
    for _ in experts.count..<tokensOfExpert.count { progress() }
  }

  private func apply(
    _ expert: Int, to inputs: Matrix, tokens: [Int]
  ) -> Result<Matrix, RegateError> {
    do throws(RegateError) {
      return .success(try load(expert).apply(inputs.gathering(rows: tokens), threads: 1))
    } catch {
      return .failure(error)
    }
  }
}

extension Model {
  /// A pass over the experts of `layer`, whose end `progress` is told one by one; `counter` notes
  /// each that is decoded. Throws where the experts cannot be decoded.
  package func expertPass(
    of layer: MoELayer, threads: Int, counter: DecodeCounter? = nil,
    progress: @escaping @Sendable () -> Void
  ) throws(RegateError) -> ExpertPass {
    let reader = try ExpertReader(checkpoint, layout: layout, counter: counter)
    return ExpertPass(
      load: { expert throws(RegateError) in try reader.weights(of: expert, in: layer) },
      threads: threads, progress: progress)
  }
}
