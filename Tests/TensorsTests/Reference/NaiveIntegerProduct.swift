// SPDX-License-Identifier: Apache-2.0
//
// The products of CKernels/IntegerKernels.h by their definition.

import Foundation

enum NaiveIntegerProduct {
  /// A block of numbers as integers times a scale.
  struct Block {
    let scale: Float
    let values: [Int]

    init(_ block: ArraySlice<Float>) {
      let scale = (block.map(\.magnitude).max() ?? 0) * (1 / 127)
      self.scale = scale
      // A product with the inverse, as the kernel has it: a quotient may round the other way.
      values = block.map { scale == 0 ? 0 : Int(($0 * (1 / scale)).rounded(.toNearestOrEven)) }
    }
  }

  private static func blocks(_ row: ArraySlice<Float>) -> [Block] {
    stride(from: row.startIndex, to: row.endIndex, by: 32).map {
      Block(row[$0..<min($0 + 32, row.endIndex)])
    }
  }

  /// a · bᵀ of a [m,k] and b [n,k], row-major: [m,n].
  static func product(_ a: [Float], _ b: [Float], k: Int) -> [Double] {
    let (left, right) = (a, b)
    let rows = { (values: [Float]) in
      stride(from: 0, to: values.count, by: k).map { blocks(values[$0..<$0 + k]) }
    }
    let columns = rows(right)
    return rows(left).flatMap { row in
      columns.map { column in
        zip(row, column).reduce(0.0) { sum, pair in
          let dot = zip(pair.0.values, pair.1.values).reduce(0) { $0 + $1.0 * $1.1 }
          return sum + Double(dot) * Double(pair.0.scale) * Double(pair.1.scale)
        }
      }
    }
  }
}
