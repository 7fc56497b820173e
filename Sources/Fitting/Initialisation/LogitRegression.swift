// SPDX-License-Identifier: Apache-2.0

import Tensors

/// The scale and biases that bring similarities nearest to logits, by least squares.
enum LogitRegression {
  /// min |scale values + bias - logits|² over [T,F], up to a shift per token where `shiftFree`.
  ///
  /// nil where the values do not rise with the logits.
  static func fit(
    _ values: Matrix, to logits: Matrix, shiftFree: Bool, threads: Int
  ) -> (scale: Float, bias: [Float])? {
    let means = values.columnMeans(threads: threads)
    let logitMeans = logits.columnMeans(threads: threads)
    let count = values.columns
    var product = 0.0
    var square = 0.0
    for token in 0..<values.rows {
      var own = 0.0
      var target = 0.0
      var both = 0.0
      var squares = 0.0
      for column in 0..<count {
        let x = Double(values[token, column]) - means[column]
        let y = Double(logits[token, column]) - logitMeans[column]
        own += x
        target += y
        both += x * y
        squares += x * x
      }
      product += both - (shiftFree ? own * target / Double(count) : 0)
      square += squares - (shiftFree ? own * own / Double(count) : 0)
    }
    let scale = product / square
    guard scale.isFinite, scale > 0 else { return nil }
    let shift =
      shiftFree
      ? zip(logitMeans, means).reduce(0) { $0 + $1.0 - scale * $1.1 } / Double(count) : 0
    return (Float(scale), zip(logitMeans, means).map { Float($0 - scale * $1 - shift) })
  }
}
