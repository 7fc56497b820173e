// SPDX-License-Identifier: Apache-2.0
//
// Next-token figures at chosen positions, without ever holding [T,V] logits. The head is decoded in
// panels of vocabulary rows; each position keeps a running maximum m and sums relative to it:
//
//   Z   = sum_v exp(l_v - m)                    NLL        = m + log Z - l_target
//   D_s = sum_v exp(l0_v - m0) (l0_v - l_s,v)   KL(0 || s) = D_s / Z0 - (m0 + log Z0)
//                                                            + (m_s + log Z_s)
//
// Logits are Float32, sums and results Double.

import Architectures
package import ByteStorage
import Foundation
package import Tensors

/// Figures of one stream at the scored positions, in their order.
package struct StreamScores: Sendable {
  /// -log p(next token), nats.
  package let nll: [Double]
  /// KL divergence of stream 0's next-token distribution from this one's, nats.
  package let divergence: [Double]
  /// Whether the most likely token is stream 0's.
  package let agrees: [Bool]

  package var meanNLL: Double { Self.mean(nll) }
  package var perplexity: Double { exp(meanNLL) }
  package var meanDivergence: Double { Self.mean(divergence) }
  package var topAgreement: Double { Self.mean(agrees.map { $0 ? 1 : 0 }) }

  private static func mean(_ values: [Double]) -> Double {
    values.reduce(0, +) / Double(values.count)
  }
}

extension ForwardPass {
  /// Vocabulary rows that are decoded at a time, and positions per task.
  private static let panelRows = 2048
  private static let blockPositions = 512

  /// What is known of a stream at a position after some of the vocabulary.
  private struct Tally {
    var largest = -Float.infinity
    var best = -1
    var sum = 0.0
    var difference = 0.0
    var target: Float = 0
  }

  /// Goes to the head without the layers that are left: what is scored then is no figure of the
  /// model, but takes as long.
  package func leaveOutRest() { layer = model.layerCount }

  /// The figures of each stream at all positions of `protocol`; all layers must be done.
  package func scores(_ counted: PerplexityProtocol = .all) throws(RegateError) -> [StreamScores] {
    precondition(layer == model.layerCount)
    progress.enter("output head")
    let positions = counted.positions(batch.sequences)
    guard !positions.isEmpty else {
      throw RegateError(
        .missing, subject: "token ids", "no sequence has a position that is scored",
        advice: "give sequences of at least two tokens")
    }
    let inputs = try normalisedRows(positions)
    let targets = positions.map { Int(batch.ids[Int($0) + 1]) }
    let head = try model.weights.matrix(
      model.head, rows: model.vocabularySize, columns: model.hiddenSize)
    let blockCount = (positions.count + Self.blockPositions - 1) / Self.blockPositions
    var tallies = (0..<blockCount).map { block in
      [Tally](
        repeating: Tally(),
        count: inputs.count
          * min(Self.blockPositions, positions.count - block * Self.blockPositions))
    }
    let cap = model.multipliers.logitCap
    for start in stride(from: 0, to: model.vocabularySize, by: Self.panelRows) {
      let words = start..<min(start + Self.panelRows, model.vocabularySize)
      let panel = try head.packed(rows: words, threads: threads)
      let bias = model.headBias.map { Array($0[words]) }
      let before = tallies
      tallies = mapBlocks(
        count: positions.count, blockSize: Self.blockPositions, threads: threads
      ) { block, rows in
        var tally = before[block]
        Self.add(
          panel, bias, cap, words, inputs.map { $0[rows] }, targets[rows], to: &tally)
        return tally
      }
      progress.advance(words.count * tokenCount * inputs.count / model.vocabularySize)
    }
    let scores = Self.results(tallies, streams: inputs.count, of: streams)
    guard scores.allSatisfy({ $0.nll.allSatisfy(\.isFinite) }) else {
      throw notFinite(.head(model.head.weight.tensor))
    }
    return scores
  }

  /// The final norm of the hidden states at `positions`, per distinct stream, times the factor of
  /// the logits.
  private func normalisedRows(_ positions: [Int32]) throws(RegateError) -> [MatrixView] {
    let norm = try model.finalNorm()
    let factor = model.multipliers.logits
    var panels: [MatrixView] = []
    for stream in hidden {
      let panel = newCopy(rows: positions.count)
      let outcomes = mapBlocks(
        count: positions.count, blockSize: Self.blockPositions, threads: threads
      ) { _, rows in
        panel[rows].gather(stream, rows: positions[rows])
        let isFinite = norm.apply(panel[rows], into: panel[rows])
        if factor != 1 { panel[rows].multiply(by: factor) }
        return isFinite
      }
      guard outcomes.allSatisfy({ $0 }) else {
        throw notFinite(before: layer)
      }
      panels.append(panel)
    }
    return panels
  }

  /// Adds the logits of `words` to the tallies of a block: position after position, streams within.
  private static func add(
    _ panel: PackedMatrix, _ bias: [Float]?, _ cap: Float?, _ words: Range<Int>,
    _ inputs: [MatrixView], _ targets: ArraySlice<Int>, to tallies: inout [Tally]
  ) {
    let logits = inputs.map { input in
      let result = MatrixView(rows: input.rows, columns: panel.rows)
      result.multiply(input, transposed: panel)
      if let bias { result.add(toEachRow: bias) }
      if let cap { result.softCap(cap) }
      return result
    }
    for (row, target) in targets.enumerated() {
      for stream in inputs.indices {
        let index = row * inputs.count + stream
        var tally = tallies[index]
        let (largest, best) = logits[stream].largest(row: row)
        let previous = tally.largest
        if largest > previous {
          tally.sum *= exp(Double(previous) - Double(largest))
          tally.largest = largest
          tally.best = words.lowerBound + best
        }
        tally.sum += logits[stream].sumOfExponentials(row: row, shift: tally.largest)
        if words.contains(target) { tally.target = logits[stream][row, target - words.lowerBound] }
        tallies[index] = tally
        guard stream > 0 else {
          // Differences are kept relative to stream 0's maximum, which may just have grown.
          let factor = largest > previous ? exp(Double(previous) - Double(largest)) : 1
          for other in 1..<max(inputs.count, 1) { tallies[index + other].difference *= factor }
          continue
        }
        tallies[index].difference += logits[0].sumOfExponentials(
          row: row, shift: tallies[row * inputs.count].largest,
          timesDifferenceTo: logits[stream])
      }
    }
  }

  /// Streams that never parted share the figures of stream 0.
  private static func results(
    _ tallies: [[Tally]], streams distinct: Int, of streams: Int
  ) -> [StreamScores] {
    let all = tallies.flatMap { $0 }
    let count = all.count / distinct
    return (0..<streams).map { stream in
      let own = min(stream, distinct - 1)
      var nll: [Double] = []
      var divergence: [Double] = []
      var agrees: [Bool] = []
      for position in 0..<count {
        let original = all[position * distinct]
        let tally = all[position * distinct + own]
        let logSum = Double(tally.largest) + log(tally.sum)
        let originalLogSum = Double(original.largest) + log(original.sum)
        nll.append(logSum - Double(tally.target))
        divergence.append(own == 0 ? 0 : tally.difference / original.sum - originalLogSum + logSum)
        agrees.append(tally.best == original.best)
      }
      return StreamScores(nll: nll, divergence: divergence, agrees: agrees)
    }
  }

  /// The logits [positions, V] of one stream at tokens `positions` of the row of all tokens.
  package func logits(at positions: [Int], stream: Int = 0) throws(RegateError) -> Matrix {
    precondition(layer == model.layerCount && stream >= 0 && stream < streams)
    precondition(positions.allSatisfy { $0 >= 0 && $0 < tokenCount })
    let inputs = try normalisedRows(positions.map(Int32.init))[min(stream, hidden.count - 1)]
    let head = try model.weights.matrix(
      model.head, rows: model.vocabularySize, columns: model.hiddenSize
    ).packed(threads: threads)
    return Matrix(rows: positions.count, columns: model.vocabularySize) { result in
      result.multiply(inputs, transposed: head)
      if let bias = model.headBias { result.add(toEachRow: bias) }
      if let cap = model.multipliers.logitCap { result.softCap(cap) }
    }
  }
}
