// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How numbers are printed, the same in every report.
package enum Format {
  /// A number with fixed decimals; `-` where it is undefined.
  package static func number(_ value: Double?, decimals: Int = 3) -> String {
    guard let value, value.isFinite else { return "-" }
    return String(format: "%.\(decimals)f", value)
  }

  /// A difference, with its sign.
  package static func signed(_ value: Double?, decimals: Int = 3) -> String {
    guard let value, value.isFinite else { return "-" }
    return String(format: "%+.\(decimals)f", value)
  }

  /// A share as a percentage with one decimal.
  package static func percent(_ value: Double?) -> String {
    guard let value, value.isFinite else { return "-" }
    return String(format: "%.1f %%", value * 100)
  }

  /// A size with a decimal unit: `1.5 GB`.
  package static func bytes(_ count: Int) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"]
    var value = Double(count)
    var unit = 0
    while value >= 999.5, unit < units.count - 1 {
      value /= 1000
      unit += 1
    }
    let decimals = unit == 0 || value >= 99.95 ? 0 : (value >= 9.995 ? 1 : 2)
    return String(format: "%.\(decimals)f %@", value, units[unit])
  }

  /// A duration: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 07 min`.
  package static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0 else { return "-" }
    if seconds < 9.95 { return String(format: "%.1f s", seconds) }
    let whole = Int(seconds.rounded())
    if whole < 60 { return "\(whole) s" }
    if whole < 3600 { return String(format: "%d min %02d s", whole / 60, whole % 60) }
    return String(format: "%d h %02d min", whole / 3600, whole % 3600 / 60)
  }

  /// A whole number with thousands separated: `12,288`.
  package static func count(_ value: Int) -> String {
    var digits = String(value.magnitude)
    var groups: [String] = []
    while digits.count > 3 {
      groups.insert(String(digits.suffix(3)), at: 0)
      digits.removeLast(3)
    }
    return (value < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
  }

  /// Some of what `name` is one of: `1 rank`, `8 ranks`.
  package static func count(_ value: Int, of name: String) -> String {
    "\(count(value)) \(name)\(value == 1 ? "" : "s")"
  }

  /// Words in a row: `a, b and c`.
  package static func list(_ words: [String]) -> String {
    guard words.count > 1 else { return words.first ?? "" }
    return words.dropLast().joined(separator: ", ") + " and " + words[words.count - 1]
  }
}
