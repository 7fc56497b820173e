// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A chart's data in the coordinates of its drawing.
struct Plot {
  private let chart: LineChart
  private let x: Range
  private let y: Range

  /// One axis: from values to coordinates.
  private struct Range {
    let axis: LineChart.Axis
    let lower: Double
    let upper: Double
    let start: Double
    let end: Double

    init(_ axis: LineChart.Axis, values: [Double], count: Int, start: Double, end: Double) {
      self.axis = axis
      self.start = start
      self.end = end
      let low = axis.lower ?? values.min() ?? 0
      let high = axis.upper ?? values.max() ?? 1
      // A single value stands in the middle.
      lower = low < high ? low : low - 0.5
      upper = low < high ? (axis.rounded ? Ticks.above(low, high, count: count) : high) : low + 0.5
    }

    func place(_ value: Double) -> Double {
      let inside = min(max(value, lower), upper)
      return start + (end - start) * (spaced(inside) - spaced(lower))
        / (spaced(upper) - spaced(lower))
    }

    private func spaced(_ value: Double) -> Double {
      switch axis.spacing {
      case .linear: value
      case .squareRoot: max(0, value).squareRoot()
      case .logarithmic: log2(max(value, .leastNormalMagnitude))
      }
    }

    func ticks(_ count: Int) -> [Double] {
      switch axis.spacing {
      case .squareRoot:
        return [0, 0.25, 1, 4, 16, 64, 256].filter { $0 >= lower && $0 <= upper }
      case .logarithmic:
        let powers = (0..<40).map { Double(1 << $0) }.filter { $0 >= lower && $0 <= upper }
        let step = Ticks.step(count: powers.count, room: Double(count))
        return stride(from: 0, to: powers.count, by: step).map { powers[$0] }
      case .linear:
        let ticks = Ticks.round(lower, upper, count: count)
        return axis.whole ? ticks.filter { $0 == $0.rounded() } : ticks
      }
    }
  }

  init(_ chart: LineChart) {
    self.chart = chart
    let size = chart.size
    let points = chart.series.flatMap(\.points)
    x = Range(
      chart.x, values: points.map(\.x), count: size.ticks, start: size.left, end: size.width - 18)
    y = Range(
      chart.y, values: points.map(\.y), count: size.ticks, start: size.height - size.bottom, end: 8)
  }

  /// Grid, marks and names of both axes.
  var axes: [Markup] {
    let size = chart.size
    var result: [Markup] = []
    for value in y.ticks(size.ticks) {
      let place = y.place(value)
      result.append(
        Markup(
          "path",
          ["class": "rule", "d": "M\(x.start.coordinate) \(place.coordinate)H\(x.end.coordinate)"]))
      result.append(
        label(Ticks.label(value), x: x.start - 5, y: place + 4, style: "end"))
    }
    for value in x.ticks(size.ticks) {
      result.append(label(Ticks.label(value), x: x.place(value), y: y.start + 14, style: "middle"))
    }
    guard size == .large else { return result }
    let middle = (y.start + y.end) / 2
    return result + [
      label(chart.x.name, x: (x.start + x.end) / 2, y: y.start + 33, style: "middle"),
      Markup(
        "text", ["class": "middle", "transform": "translate(12 \(middle.coordinate)) rotate(-90)"],
        text: chart.y.name),
    ]
  }

  private func label(_ text: String, x: Double, y: Double, style: String) -> Markup {
    Markup("text", ["class": style, "x": x.coordinate, "y": y.coordinate], text: text)
  }

  /// Points fewer than this are marked on their line.
  private static let markedPoints = 80

  /// A curve, its points where they are few, and the words beside them.
  func curve(_ series: LineChart.Series) -> [Markup] {
    let places = series.points.map { (x: x.place($0.x), y: y.place($0.y)) }
    var result: [Markup] = []
    if series.kind != .marks, places.count > 1 {
      let points = places.map { "\($0.x.coordinate),\($0.y.coordinate)" }.joined(separator: " ")
      result.append(Markup("polyline", ["class": series.style, "points": points]))
    }
    let marked = series.kind == .marks || (series.kind == .line && chart.size == .large)
    if marked, places.count <= Plot.markedPoints {
      for (place, point) in zip(places, series.points) {
        result.append(
          Markup(
            "circle",
            [
              "class": "mark c\(series.colour)", "cx": place.x.coordinate,
              "cy": place.y.coordinate, "r": series.kind == .marks ? "5" : "2.5",
            ],
            [
              Markup(
                "title",
                text: "\(series.name): \(Ticks.label(point.x)), \(Ticks.label(point.y))")
            ]))
      }
    }
    for (place, words) in zip(places, series.labels) where !words.isEmpty {
      let left = place.x > (x.start + x.end) / 2
      result.append(
        label(
          words, x: place.x + (left ? -8 : 8), y: place.y - 6, style: left ? "end" : "start"))
    }
    return result
  }
}
