// SPDX-License-Identifier: Apache-2.0
//
// From logits to scores, and from the scores of the chosen experts to their weights.
//
//   softmax             pi_f = exp(l_f - max l) / sum exp(l - max l)        w = pi
//   sigmoid             pi_f = 1 / (1 + exp(-l_f))                          w = pi
//   sqrt softplus       pi_f = sqrt(log(1 + exp(l_f)))                      w = pi
//   softmax of selected pi_f = l_f                                          w = softmax over chosen
//   sparse mixer        pi_f = l_f                                          w below
//   then w /= guard(sum w) where the family renormalises, and w *= scale.
//
// All in Float32, as transformers 5.23 and llama.cpp compute them.

import Foundation
package import Tensors

extension RoutingRule {
  /// Tokens per block of work.
  package static let blockTokens = 1024

  /// The scores pi [T,F] of `logits` [T,F].
  package func scores(_ logits: Matrix, threads: Int) -> Matrix {
    guard scoring != .softmaxOfSelected, scoring != .sparseMixer else { return logits }
    let width = logits.columns
    let blocks = mapBlocks(
      count: logits.rows, blockSize: Self.blockTokens, threads: threads
    ) { _, rows in
      var values = Array(logits.values[rows.lowerBound * width..<rows.upperBound * width])
      for row in 0..<rows.count { score(&values, row * width..<(row + 1) * width) }
      return values
    }
    return Matrix(rows: logits.rows, columns: width, values: Array(blocks.joined()))
  }

  /// Turns the logits in `range` into scores.
  private func score(_ values: inout [Float], _ range: Range<Int>) {
    switch scoring {
    case .softmax:
      var largest = -Float.infinity
      for index in range { largest = max(largest, values[index]) }
      var sum: Float = 0
      for index in range {
        let value = expf(values[index] - largest)
        values[index] = value
        sum += value
      }
      for index in range { values[index] /= sum }
    case .sigmoid:
      for index in range { values[index] = 1 / (1 + expf(-values[index])) }
    case .sqrtSoftplus:
      for index in range {
        let logit = values[index]
        // Beyond 20 softplus(x) is x in Float32 (torch and ggml use the same threshold).
        values[index] = (logit > 20 ? logit : log1pf(expf(logit))).squareRoot()
      }
    case .softmaxOfSelected, .sparseMixer: break
    }
  }

  /// The family's weights of the `chosen` experts of one token, best first, written to
  /// `weights`. `scores` is the token's unbiased row.
  package func weights(_ scores: Span<Float>, chosen: [Int], into weights: inout [Float]) {
    switch scoring {
    case .softmax, .sigmoid, .sqrtSoftplus:
      for rank in 0..<topK { weights[rank] = scores[chosen[rank]] }
    case .softmaxOfSelected:
      var largest = -Float.infinity
      for expert in chosen { largest = max(largest, scores[expert]) }
      var sum: Float = 0
      for rank in 0..<topK {
        weights[rank] = expf(scores[chosen[rank]] - largest)
        sum += weights[rank]
      }
      for rank in 0..<topK { weights[rank] /= sum }
    case .sparseMixer:
      for rank in 0..<topK {
        weights[rank] = sparseMixerWeight(scores, of: rank, chosen: chosen)
      }
    }
    if normalise {
      var sum: Float = 0
      for rank in 0..<topK { sum += weights[rank] }
      switch normaliseGuard {
      case .none: break
      case .add(let epsilon): sum += epsilon
      case .clamp(let floor): sum = max(sum, floor)
      }
      for rank in 0..<topK { weights[rank] /= sum }
    }
    if scale != 1 {
      for rank in 0..<topK { weights[rank] *= scale }
    }
  }

  /// Phi-3.5-MoE's weight of `chosen[rank]`: its share in a softmax over the experts not chosen
  /// before it whose logit z is near its own m, `(m - z) / max(|z|, m) <= 2 jitter`.
  private func sparseMixerWeight(_ logits: Span<Float>, of rank: Int, chosen: [Int]) -> Float {
    let reference = logits[chosen[rank]]
    var sum: Float = 0
    for expert in 0..<logits.count {
      let logit = logits[expert]
      let far = (reference - logit) / max(abs(logit), reference) > 2 * jitter
      if far || chosen[..<rank].contains(expert) { continue }
      sum += expf(logit - reference)
    }
    return 1 / sum
  }
}
