// SPDX-License-Identifier: Apache-2.0
//
// Adam (Kingma and Ba 2015), beta1 0.9, beta2 0.99, with bias correction.

import Tensors

/// Adam's state for one matrix.
struct Adam {
  private var first: [Float]
  private var second: [Float]
  private var step = 0

  init(count: Int) {
    first = [Float](repeating: 0, count: count)
    second = first
  }

  /// Moves `parameters` against `gradient`; in every column by `rate` over its unit, where units
  /// are given: a column that multiplies large inputs moves by little.
  mutating func update(
    _ parameters: inout Matrix, gradient: Matrix, rate: Float, units: [Float]? = nil
  ) {
    let rates = units?.map { rate / $0 } ?? [Float](repeating: rate, count: parameters.columns)
    precondition(gradient.values.count == first.count && parameters.values.count == first.count)
    step += 1
    let firstScale = 1 / (1 - power(0.9, step))
    let secondScale = 1 / (1 - power(0.99, step))
    for row in 0..<parameters.rows {
      for column in rates.indices {
        let index = row * rates.count + column
        let derivative = gradient.values[index]
        first[index] = 0.9 * first[index] + 0.1 * derivative
        second[index] = 0.99 * second[index] + 0.01 * derivative * derivative
        let scaled = (second[index] * secondScale).squareRoot() + 1e-12
        parameters.values[index] -= rates[column] * first[index] * firstScale / scaled
      }
    }
  }

  private func power(_ base: Float, _ exponent: Int) -> Float {
    (0..<min(exponent, 4096)).reduce(1) { product, _ in product * base }
  }
}
