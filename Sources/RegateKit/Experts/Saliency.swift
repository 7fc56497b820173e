// SPDX-License-Identifier: Apache-2.0
//
// What an expert contributes on the calibration set: the sum over its tokens of routing weight x
// norm of the expert's output. Norms are measured on a sample of each expert's tokens, since they
// vary little between tokens and the experts' matrix products would dominate the fit.

import ByteStorage
import Routing
import Tensors

enum Saliency {
  /// Tokens per expert on which output norms are measured.
  static let sampleTokens = 256

  /// Saliency of each expert [E] under `assignment` of `inputs` [T,H].
  static func measure(
    inputs: Matrix, assignment: Assignment, experts: Int, pass: ExpertPass
  ) throws(RegateError) -> [Double] {
    var tokens = [[Int]](repeating: [], count: experts)
    var weights = [[Float]](repeating: [], count: experts)
    for token in 0..<assignment.tokens {
      for rank in token * assignment.topK..<(token + 1) * assignment.topK {
        tokens[Int(assignment.slots[rank])].append(token)
        weights[Int(assignment.slots[rank])].append(assignment.weights[rank])
      }
    }
    let samples = tokens.map { evenSample(of: $0.count, limit: sampleTokens) }
    var saliency = [Double](repeating: 0, count: experts)
    try pass.run(
      inputs: inputs, tokensOfExpert: zip(tokens, samples).map { all, sample in sample.map { all[$0] } }
    ) { expert, sampled, outputs in
      var sum = 0.0
      for (row, position) in samples[expert].enumerated() {
        let squares = outputs.row(row).reduce(0.0) { $0 + Double($1) * Double($1) }
        sum += Double(weights[expert][position]) * squares.squareRoot()
      }
      saliency[expert] = sum * Double(tokens[expert].count) / Double(sampled.count)
    }
    return saliency
  }

  /// Up to `limit` positions spread evenly over `0..<count`.
  private static func evenSample(of count: Int, limit: Int) -> [Int] {
    guard count > limit else { return Array(0..<count) }
    return (0..<limit).map { $0 * count / limit }
  }
}
