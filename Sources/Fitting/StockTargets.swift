// SPDX-License-Identifier: Apache-2.0
//
// Which physical experts a linear gate is to choose: the prototype router's logical experts, but
// with the tokens of each that has clones split into clusters. A linear gate must keep the clones
// that do not serve a token out of its top K, so cells need distance between them; the prototype
// router's own cells are slices.
//
//   minimise sum_t |x_t - c_cell(t)|², every cell with the same number of tokens

package import ByteStorage
package import Routing
package import Tensors

/// Targets of the stock form, by physical expert.
package enum StockTargets {
  private static let rounds = 12
  /// Tokens for each cluster that its centre is made of.
  private static let sampleTokens = 1024

  /// `scale` [H] brings input dimensions to unit size.
  package static func assignment(
    _ set: CalibrationSet, prototype: PrototypeRouter, scale: [Float], seed: UInt64, threads: Int
  ) throws(RegateError) -> Assignment {
    var wanted = prototype.route(set.inputs, threads: threads)
    var generator = SplitMix64(seed: seed)
    for members in prototype.physicalOfLogical where members.count > 1 {
      let entries = wanted.experts.indices.filter { members.contains(Int(wanted.experts[$0])) }
      guard entries.count >= members.count else { continue }
      var inputs = set.inputs.gathering(rows: entries.map { $0 / wanted.topK })
      for row in 0..<inputs.rows {
        for column in 0..<inputs.columns { inputs[row, column] /= scale[column] }
      }
      let cells = balancedClusters(
        inputs, count: members.count, threads: threads, using: &generator)
      for (entry, cell) in zip(entries, cells) { wanted.experts[entry] = Int32(members[cell]) }
    }
    return wanted
  }

  /// The cluster of each row of `inputs` [N,H]: `count` clusters of equal size. Their centres come
  /// from rows spread evenly.
  package static func balancedClusters(
    _ inputs: Matrix, count: Int, threads: Int, using generator: inout SplitMix64
  ) -> [Int] {
    let sampled = evenSample(of: inputs.rows, limit: count * sampleTokens)
    let sample = sampled.count < inputs.rows ? inputs.gathering(rows: sampled) : inputs
    var centres = sample.gathering(
      rows: Array((0..<sample.rows).shuffled(using: &generator).prefix(count)))
    var bias = [Float](repeating: 0, count: count)
    for _ in 0..<rounds {
      let cells = nearest(sample, centres, &bias, threads: threads)
      centres = means(sample, cells: cells, count: count)
    }
    return nearest(inputs, centres, &bias, threads: threads)
  }

  /// The cell of each row of `inputs`, cells of equal size around `centres`; the `bias` that
  /// gives these sizes is solved from what it was.
  private static func nearest(
    _ inputs: Matrix, _ centres: Matrix, _ bias: inout [Float], threads: Int
  ) -> [Int] {
    let count = centres.rows
    let rule = RoutingRule(
      experts: count, topK: 1, scoring: .softmaxOfSelected, normalise: false)
    let solver = SelectionBiasSolver(
      rule: rule, selectable: [Bool](repeating: true, count: count), threads: threads)
    // -|x - c|²/2 without the part that all centres share.
    var nearness = LinearAlgebra.multiply(inputs, transposed: centres, threads: threads)
    nearness.add(toEachRow: (0..<count).map { -centres.row($0).reduce(0) { $0 + $1 * $1 } / 2 })
    bias = solver.solve(
      scores: nearness, targets: [Double](repeating: 1 / Double(count), count: count),
      from: bias)
    return Selection(rule: rule, bias: bias)
      .assign(nearness, threads: threads) { _, cell in cell }.experts.map { Int($0) }
  }

  private static func means(_ inputs: Matrix, cells: [Int], count: Int) -> Matrix {
    var sums = [Double](repeating: 0, count: count * inputs.columns)
    var sizes = [Double](repeating: 0, count: count)
    for (row, cell) in cells.enumerated() {
      sizes[cell] += 1
      for column in 0..<inputs.columns {
        sums[cell * inputs.columns + column] += Double(inputs[row, column])
      }
    }
    var centres = Matrix(rows: count, columns: inputs.columns)
    for cell in 0..<count where sizes[cell] > 0 {
      for column in 0..<inputs.columns {
        centres[cell, column] = Float(sums[cell * inputs.columns + column] / sizes[cell])
      }
    }
    return centres
  }
}

extension Assignment {
  /// Makes each token's weights sum to 1 and mixes them with `share` of equal ones.
  mutating func shareEvenly(_ share: Float) {
    let even = 1 / Float(topK)
    for token in 0..<tokens {
      let entries = token * topK..<(token + 1) * topK
      let sum = weights[entries].reduce(0, +)
      for entry in entries {
        weights[entry] = (1 - share) * (sum > 0 ? weights[entry] / sum : even) + share * even
      }
    }
  }
}
