// SPDX-License-Identifier: Apache-2.0
//
// Adam (Kingma and Ba 2015), beta1 0.9, beta2 0.99, with bias correction.

import CKernels

/// Adam's state for one matrix.
package struct Adam {
  private var first: [Float]
  private var second: [Float]
  /// beta1 and beta2 to the power of the steps taken.
  private var firstDecay: Float = 1
  private var secondDecay: Float = 1

  package init(count: Int) {
    first = [Float](repeating: 0, count: count)
    second = first
  }

  /// Moves `parameters` against `gradient`; in every column by `rate` over its unit, where units
  /// are given: a column that multiplies large inputs moves by little.
  package mutating func update(
    _ parameters: inout Matrix, gradient: Matrix, rate: Float, units: [Float]? = nil
  ) {
    let columns = parameters.columns
    let rates = units?.map { rate / $0 } ?? [Float](repeating: rate, count: columns)
    precondition(gradient.values.count == first.count && parameters.values.count == first.count)
    precondition(rates.count == columns)
    firstDecay *= 0.9
    secondDecay *= 0.99
    let (firstScale, secondScale) = (1 / (1 - firstDecay), 1 / (1 - secondDecay))
    let path = rg_best_path()
    let rows = parameters.rows
    unsafe parameters.values.withUnsafeMutableBufferPointer { values in
      unsafe first.withUnsafeMutableBufferPointer { first in
        unsafe second.withUnsafeMutableBufferPointer { second in
          unsafe gradient.values.withUnsafeBufferPointer { gradient in
            guard let values = values.baseAddress, let first = first.baseAddress,
              let second = second.baseAddress, let gradient = gradient.baseAddress
            else { return }
            // SAFETY: all four hold [rows,columns], as compared above, and `rates` one row.
            for start in stride(from: 0, to: rows * columns, by: columns) {
              unsafe rg_adam(
                path, values + start, first + start, second + start, gradient + start, rates,
                firstScale, secondScale, columns)
            }
          }
        }
      }
    }
  }
}
