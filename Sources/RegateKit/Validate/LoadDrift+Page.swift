// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Measures
public import Reports
import Routing

extension LoadDrift {
  /// The report as a page: both loads and how far one has moved, in pictures, and every figure.
  public var page: Page {
    let names = (original: "original", patched: "other")
    var page = Page(
      title: "Load of \(other.lastPathComponent) against \(original.lastPathComponent)",
      lines: ["Original \(original), other \(other), \(Format.count(tokens)) tokens.", method],
      version: RegateVersion.current)
    page.append(warnings: warnings)
    page.append(tiles)
    let loads = layers.map { LayerLoad(index: $0.index, original: $0.original, patched: $0.other) }
    page.append("Drift by layer", [.note(Self.key), .grid(driftCharts)])
    page.append(
      "Expert load of both",
      [
        .note(LoadPictures.key),
        .grid(
          LoadPictures.heatMaps("Original", layers.map { ($0.index, $0.original) })
            + LoadPictures.heatMaps("Other", layers.map { ($0.index, $0.other) })),
      ])
    page.append("Balance by layer", [.grid(LoadPictures.balance(loads, names: names))])
    let remarks = [likelihoodText, comparison.specialistText].compactMap(\.self)
    page.append("Figures", [table.markup] + remarks.map(Markup.note))
    return page
  }

  private var tiles: [Page.Tile] {
    [
      .init(
        "moved load", Format.percent(comparison.overlap.map { 1 - $0 }),
        note: "of the assignments, mean over layers"),
      .init(
        "divergence", Format.number(comparison.divergence), note: "bits, mean over layers"),
      .init(
        "busiest kept", Format.percent(comparison.busiest),
        note: "of the busiest eighth, mean over layers"),
    ]
  }

  private var driftCharts: [Markup] {
    let x = LineChart.Axis("layer", whole: true)
    func points(_ figure: (LoadComparison.Layer) -> Double) -> [(x: Double, y: Double?)] {
      comparison.layers.map { (Double($0.index), figure($0)) }
    }
    return [
      LineChart(
        "Assignments that went to other experts by layer", x: x,
        y: .init("share", lower: 0, upper: 1),
        series: [.init("moved load", colour: 0, points: points(\.totalVariation))]
      ).markup,
      LineChart(
        "Busiest eighth of the experts that is the same by layer", x: x,
        y: .init("share", lower: 0, upper: 1),
        series: [.init("busiest kept", colour: 0, points: points(\.busiest))]
      ).markup,
    ]
  }
}
