// SPDX-License-Identifier: Apache-2.0
//
// A table of numbers as coloured cells. Neighbours of one class are drawn as one stroke, all
// strokes of one class in a row as one path, so that 61 layers of 384 experts stay within some
// 170 kB at worst.

/// Rows of cells, coloured by a scale.
package struct HeatMap: Sendable {
  /// One row: a short label at its side, words that a pointer shows, one value per cell.
  package struct Row: Sendable {
    let label: String
    let title: String
    let values: [Double?]

    package init(label: String, title: String, values: [Double?]) {
      self.label = label
      self.title = title
      self.values = values
    }
  }

  private let rows: [Row]
  private let scale: ColourScale
  private let caption: String
  private let rowName: String
  private let columnName: String
  private let square: Bool

  /// A picture of `rows`; undefined values stay blank. `square` cells suit a matrix of pairs.
  package init(
    _ rows: [Row], scale: ColourScale, caption: String, rowName: String, columnName: String,
    square: Bool = false
  ) {
    self.rows = rows
    self.scale = scale
    self.caption = caption
    self.rowName = rowName
    self.columnName = columnName
    self.square = square
  }

  private static let left = 46.0
  private static let top = 2.0
  private static let bottom = 34.0
  private static let right = 12.0
  private static let fontHeight = 11.0
  /// A wider picture gets a line of its own.
  private static let half = 720.0

  /// The picture with its caption and legend.
  package var markup: Markup {
    let columns = rows.map(\.values.count).max() ?? 0
    let cellWidth = min(24, max(2.5, 640 / Double(max(columns, 1))))
    let cellHeight = square ? cellWidth : min(24, max(9, 400 / Double(max(rows.count, 1))))
    let width = Double(columns) * cellWidth
    let height = Double(rows.count) * cellHeight
    let (fullWidth, fullHeight) = (
      HeatMap.left + width + HeatMap.right, HeatMap.top + height + HeatMap.bottom
    )
    let cells = Markup(
      "g",
      [
        "class": "cells",
        "transform": "translate(\(HeatMap.left.coordinate) \(HeatMap.top.coordinate)) "
          + "scale(\(cellWidth.coordinate) \(cellHeight.coordinate))",
      ], rows.enumerated().map(cells))
    let frame = Markup(
      "rect",
      [
        "class": "frame", "x": HeatMap.left.coordinate, "y": HeatMap.top.coordinate,
        "width": width.coordinate, "height": height.coordinate,
      ])
    let drawing = Markup(
      "svg",
      [
        "class": "heat", "role": "img", "aria-label": caption, "width": fullWidth.coordinate,
        "viewBox": "0 0 \(fullWidth.coordinate) \(fullHeight.coordinate)",
        "style": "min-width:\(min(fullWidth, 520).coordinate)px",
      ],
      [cells, frame] + rowLabels(cellHeight) + columnLabels(columns, cellWidth, height: height))
    return Markup(
      "figure", ["class": fullWidth > HeatMap.half ? "wide" : "half"],
      [
        Markup("figcaption", text: caption), Markup("div", ["class": "scroll"], [drawing]),
        scale.legend,
      ])
  }

  /// A row's cells in units of one cell; strokes run along its middle.
  private func cells(place: Int, row: Row) -> Markup {
    var runs: [(style: String, path: String)] = []
    var start = 0
    while start < row.values.count {
      let style = scale.style(of: row.values[start])
      var end = start + 1
      while end < row.values.count, scale.style(of: row.values[end]) == style { end += 1 }
      if let style {
        let stroke = "M\(start) .5h\(end - start)"
        if let known = runs.firstIndex(where: { $0.style == style }) {
          runs[known].path += stroke
        } else {
          runs.append((style, stroke))
        }
      }
      start = end
    }
    return Markup(
      "g", ["transform": "translate(0 \(place))"],
      [Markup("title", text: row.title)]
        + runs.map { Markup("path", ["class": $0.style, "d": $0.path]) })
  }

  private func rowLabels(_ cellHeight: Double) -> [Markup] {
    let step = Ticks.step(
      count: rows.count, room: Double(rows.count) * cellHeight / (HeatMap.fontHeight + 3))
    let labels = stride(from: 0, to: rows.count, by: step).map { place in
      Markup(
        "text",
        [
          "class": "end", "x": (HeatMap.left - 5).coordinate,
          "y": (HeatMap.top + (Double(place) + 0.5) * cellHeight + 4).coordinate,
        ], text: rows[place].label)
    }
    let middle = HeatMap.top + Double(rows.count) * cellHeight / 2
    return labels + [
      Markup(
        "text", ["class": "middle", "transform": "translate(11 \(middle.coordinate)) rotate(-90)"],
        text: rowName)
    ]
  }

  private func columnLabels(_ columns: Int, _ cellWidth: Double, height: Double) -> [Markup] {
    let base = HeatMap.top + height
    let width = Double(columns) * cellWidth
    let labels = stride(
      from: 0, to: columns, by: Ticks.step(count: columns, room: width / 28)
    ).map { column in
      Markup(
        "text",
        [
          "class": "middle", "x": (HeatMap.left + (Double(column) + 0.5) * cellWidth).coordinate,
          "y": (base + 13).coordinate,
        ], text: String(column))
    }
    return labels + [
      Markup(
        "text",
        [
          "class": "middle", "x": (HeatMap.left + width / 2).coordinate,
          "y": (base + 29).coordinate,
        ], text: columnName)
    ]
  }
}
