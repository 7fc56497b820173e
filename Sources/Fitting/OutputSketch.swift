// SPDX-License-Identifier: Apache-2.0
//
// What the experts would put out on a sample of tokens, small enough to try many routings on.
//
// Outputs are projected to D random directions (Johnson and Lindenstrauss 1984): squared distances
// between mixtures of outputs keep their mean, and sums over thousands of tokens hardly vary. Only
// the experts that a balanced router may come to choose are evaluated for each token; for any other
// the mean of its evaluated outputs stands in.

package import Routing
package import Tensors

/// Projected outputs of a layer's experts on sampled calibration tokens.
package struct OutputSketch: Sendable {
  /// Places of the sampled tokens in the calibration set, ascending.
  package let tokens: [Int]
  /// The row of `vectors` that holds an expert's output for a sampled token, [S,E]; -1 where it
  /// was not evaluated.
  private let rows: [Int32]
  /// Projected outputs [N,D].
  private let vectors: [Float]
  /// Mean projected output [E,D].
  private let means: Matrix
  /// Mean norm of the whole outputs, [E]; 0 for an expert that no sampled token may choose.
  package let norms: [Double]

  /// D for outputs that were measured.
  private static let width = 32

  /// Tokens of a sample: enough to rank clone plans.
  package static let sampleTokens = 4096

  /// How many of a token's best experts are worth evaluating.
  package static func candidates(experts: Int, topK: Int) -> Int { min(experts, 4 * topK) }

  /// Projected outputs being collected, expert after expert.
  package struct Builder {
    private let tokens: [Int]
    private let projection: Matrix
    private var rows: [Int32]
    private var vectors: [Float] = []
    private var means: Matrix
    private var norms: [Double]

    /// For the given places in the calibration set, ascending.
    package init(tokens: [Int], experts: Int, hiddenSize: Int) {
      self.tokens = tokens
      var generator = SplitMix64(seed: 0)
      let unit = 1 / Float(OutputSketch.width).squareRoot()
      projection = Matrix(
        rows: OutputSketch.width, columns: hiddenSize,
        values: (0..<OutputSketch.width * hiddenSize).map { _ in
          generator.next() >> 63 == 0 ? unit : -unit
        })
      rows = [Int32](repeating: -1, count: tokens.count * experts)
      means = Matrix(rows: experts, columns: OutputSketch.width)
      norms = [Double](repeating: 0, count: experts)
    }

    /// Adds one expert's outputs [n,H] for the given places in the sample.
    package mutating func add(expert: Int, sampled: [Int], outputs: Matrix) {
      precondition(outputs.rows == sampled.count && outputs.columns == projection.columns)
      guard !sampled.isEmpty else { return }
      let projected = LinearAlgebra.multiply(outputs, transposed: projection)
      for (row, place) in sampled.enumerated() {
        rows[place * norms.count + expert] = Int32(vectors.count / OutputSketch.width)
        vectors += projected.row(row)
        norms[expert] += outputs.row(row).reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      }
      norms[expert] /= Double(sampled.count)
      for (column, mean) in projected.columnMeans(threads: 1).enumerated() {
        means[expert, column] = Float(mean)
      }
    }

    package func finish() -> OutputSketch {
      OutputSketch(tokens: tokens, rows: rows, vectors: vectors, means: means, norms: norms)
    }
  }

  private init(
    tokens: [Int], rows: [Int32], vectors: [Float], means: Matrix, norms: [Double]
  ) {
    self.tokens = tokens
    self.rows = rows
    self.vectors = vectors
    self.means = means
    self.norms = norms
  }

  /// Where experts cannot be evaluated: all outputs of unit norm and orthogonal to each other.
  package init(orthogonal tokens: [Int], experts: Int) {
    self.init(
      tokens: tokens, rows: [Int32](repeating: -1, count: tokens.count * experts), vectors: [],
      means: .identity(experts), norms: [Double](repeating: 1, count: experts))
  }

  /// Weighted sums of outputs [S,D] under a routing of the sampled tokens to logical experts.
  package func mixtures(_ assignment: Assignment, threads: Int) -> Matrix {
    precondition(assignment.tokens == tokens.count)
    let width = means.columns
    let blocks = mapBlocks(count: tokens.count, blockSize: 512, threads: threads) { _, range in
      var sums = [Float](repeating: 0, count: range.count * width)
      for (place, token) in range.enumerated() {
        for entry in token * assignment.topK..<(token + 1) * assignment.topK {
          let logical = Int(assignment.experts[entry])
          let row = Int(rows[token * norms.count + logical])
          let weight = assignment.weights[entry]
          if row >= 0 {
            for column in 0..<width {
              sums[place * width + column] += weight * vectors[row * width + column]
            }
          } else {
            for column in 0..<width {
              sums[place * width + column] += weight * means.values[logical * width + column]
            }
          }
        }
      }
      return sums
    }
    return Matrix(rows: tokens.count, columns: width, values: blocks.flatMap { $0 })
  }
}
