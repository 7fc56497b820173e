// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Curves over two axes.
package struct LineChart: Sendable {
  /// One axis. Where a bound is missing, it is the data's.
  package struct Axis: Sendable {
    /// How values are spaced; the square root shows what is near 0 beside what is large, the
    /// logarithm what grows by factors.
    package enum Spacing: Sendable { case linear, squareRoot, logarithmic }

    let name: String
    let spacing: Spacing
    let lower: Double?
    let upper: Double?
    /// Marks at whole numbers only.
    let whole: Bool

    /// Whether the axis goes on to the next mark above the data.
    var rounded: Bool { upper == nil && spacing == .linear && !whole }

    package init(
      _ name: String, spacing: Spacing = .linear, lower: Double? = nil, upper: Double? = nil,
      whole: Bool = false
    ) {
      self.name = name
      self.spacing = spacing
      self.lower = lower
      self.upper = upper
      self.whole = whole
    }
  }

  /// One curve.
  package struct Series: Sendable {
    /// How it is drawn. `reference` is a line to compare with; `marks` are points alone.
    package enum Kind: Sendable { case line, reference, marks }

    let name: String
    let kind: Kind
    /// Its colour: 0 for the original, 1 for the patched checkpoint, others as they come.
    let colour: Int
    let points: [(x: Double, y: Double)]
    /// Words beside a point.
    let labels: [String]

    /// A curve through `points`; what is not finite is left out.
    package init(
      _ name: String, colour: Int, kind: Kind = .line, points: [(x: Double, y: Double?)],
      labels: [String] = []
    ) {
      self.name = name
      self.colour = colour
      self.kind = kind
      self.labels = labels
      self.points = points.compactMap { point in
        guard let y = point.y, y.isFinite, point.x.isFinite else { return nil }
        return (point.x, y)
      }
    }
  }

  /// How much room it takes.
  package enum Size: Sendable {
    case large, small

    var width: Double { self == .large ? 660 : 230 }
    var height: Double { self == .large ? 300 : 150 }
    var left: Double { self == .large ? 56 : 30 }
    var bottom: Double { self == .large ? 42 : 20 }
    var ticks: Int { self == .large ? 6 : 3 }
  }

  let caption: String
  let x: Axis
  let y: Axis
  let series: [Series]
  let size: Size

  package init(_ caption: String, x: Axis, y: Axis, series: [Series], size: Size = .large) {
    self.caption = caption
    self.x = x
    self.y = y
    self.series = series
    self.size = size
  }

  /// Colours that a series can have.
  package static let colours = 8

  /// What each colour and dash stands for.
  package static func legend(_ series: [Series]) -> Markup {
    Markup(
      "ul", ["class": "legend"],
      series.map { series in
        Markup(
          "li", [:],
          [
            Markup(
              "svg", ["class": "key", "viewBox": "0 0 24 10", "aria-hidden": "true"],
              [
                series.kind == .marks
                  ? Markup("circle", ["class": series.style, "cx": "12", "cy": "5", "r": "4"])
                  : Markup("path", ["class": series.style, "d": "M0 5h24"])
              ]),
            .text(series.name),
          ])
      })
  }

  /// The chart with its caption; a large one has its legend below.
  package var markup: Markup {
    Markup(
      "figure", ["class": size == .large ? "half" : "small"],
      [Markup("figcaption", text: caption), Markup("div", ["class": "scroll"], [drawing])]
        + (size == .large ? [LineChart.legend(series)] : []))
  }

  private var drawing: Markup {
    let plot = Plot(self)
    return Markup(
      "svg",
      [
        "class": "chart", "role": "img", "aria-label": caption, "width": size.width.coordinate,
        "viewBox": "0 0 \(size.width.coordinate) \(size.height.coordinate)",
        "style": "min-width:\(min(size.width, 460).coordinate)px",
      ], plot.axes + series.flatMap(plot.curve))
  }
}

extension LineChart.Series {
  var style: String {
    switch kind {
    case .line: "line c\(colour)"
    case .reference: "line reference"
    case .marks: "mark c\(colour)"
    }
  }
}
