// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Where the marks of an axis stand.
enum Ticks {
  /// About `count` round numbers from `lower` to `upper`: steps of 1, 2 or 5 times a power of ten.
  static func round(_ lower: Double, _ upper: Double, count: Int) -> [Double] {
    guard upper > lower, count > 0 else { return [lower] }
    let step = step(lower, upper, count: count)
    let first = Int((lower / step - 1e-9).rounded(.up))
    let last = Int((upper / step + 1e-9).rounded(.down))
    return first <= last ? (first...last).map { Double($0) * step } : [lower]
  }

  /// The first of these round numbers that is not below `upper`.
  static func above(_ lower: Double, _ upper: Double, count: Int) -> Double {
    guard upper > lower, count > 0 else { return upper }
    let step = step(lower, upper, count: count)
    return (upper / step - 1e-9).rounded(.up) * step
  }

  private static func step(_ lower: Double, _ upper: Double, count: Int) -> Double {
    let rough = (upper - lower) / Double(count)
    let power = pow(10, floor(log10(rough)))
    return ([1, 2, 5, 10].first { $0 * power >= rough * 0.999 } ?? 10) * power
  }

  /// The least of 1, 2, 5, 10, 20 ... by which every label of `count` finds room among `room`.
  static func step(count: Int, room: Double) -> Int {
    var power = 1
    while true {
      for factor in [1, 2, 5] where Double(count) / Double(factor * power) <= max(room, 1) {
        return factor * power
      }
      power *= 10
    }
  }

  /// A number as an axis shows it: as few decimals as it needs, at most four.
  static func label(_ value: Double) -> String {
    var text = String(format: "%.4f", value)
    while text.last == "0" { text.removeLast() }
    if text.last == "." { text.removeLast() }
    return text == "-0" ? "0" : text
  }
}
