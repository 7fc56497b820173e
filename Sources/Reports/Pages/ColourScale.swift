// SPDX-License-Identifier: Apache-2.0

/// Nine classes from low over neutral to high, and one for what is exactly nothing. The colours
/// themselves are the page's, light or dark.
package struct ColourScale: Sendable, Hashable {
  /// Upper bounds of the first eight classes, ascending; a value on a bound belongs below it.
  let bounds: [Double]
  /// The word for zero, where zero is a class of its own.
  let zero: String?
  /// How a bound is written in the legend.
  let decimals: Int

  /// A scale with these eight `bounds`.
  package init(bounds: [Double], zero: String? = nil, decimals: Int) {
    precondition(bounds.count == ColourScale.classCount - 1 && bounds == bounds.sorted())
    self.bounds = bounds
    self.zero = zero
    self.decimals = decimals
  }

  static let classCount = 9

  /// The style class of a value: `d0` lowest to `d8` highest, `zero`; nil where it is undefined.
  func style(of value: Double?) -> String? {
    guard let value, value.isFinite else { return nil }
    if value == 0, zero != nil { return "zero" }
    return "d\(bounds.firstIndex { value <= $0 } ?? bounds.count)"
  }

  /// The classes with their words, for people.
  var legend: Markup {
    func number(_ value: Double) -> String { Format.number(value, decimals: decimals) }
    var entries: [(style: String, words: String)] = zero.map { [("zero", $0)] } ?? []
    entries.append(("d0", "up to \(number(bounds[0]))"))
    for index in 1..<bounds.count {
      entries.append(("d\(index)", "\(number(bounds[index - 1])) to \(number(bounds[index]))"))
    }
    entries.append(("d\(bounds.count)", "above \(number(bounds[bounds.count - 1]))"))
    return Markup(
      "ul", ["class": "legend"],
      entries.map { entry in
        Markup("li", [:], [Markup("span", ["class": "swatch \(entry.style)"]), .text(entry.words)])
      })
  }
}
