// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Measures
public import Reports
import Routing
import Tensors

extension Inspection {
  /// The report as a page: load, row norms and cosines in pictures, and the tables.
  public var page: Page {
    var page = Page(
      title: "Routers of \(path.lastPathComponent)",
      lines: [headline] + (layers.first.map { [describe($0.layer)] } ?? [])
        + layout.extraRouters.map(\.notice), version: RegateVersion.current)
    page.append(warnings: warnings)
    if let loadSource, let tokens {
      page.append(tiles)
      appendLoad(to: &page, source: "Load from \(loadSource), \(Format.count(tokens)) tokens.")
    } else {
      page.append(
        "Expert load",
        [
          .paragraph(
            "Load is not known: give `calibration` (text, token ids or a capture) or `counts`.")
        ])
    }
    appendGates(to: &page)
    return page
  }

  private var tiles: [Page.Tile] {
    func figures(
      _ value: (LoadMetrics) -> Double?, largestIsWorst: Bool = true
    ) -> LayerStatistics {
      LayerStatistics(
        layers.map { $0.load.flatMap { value($0.metrics) } }, largestIsWorst: largestIsWorst)
    }
    let gini = figures(\.gini)
    let ratio = figures(\.minOverMax, largestIsWorst: false)
    let peak = figures(\.maxOverMean)
    let dead = layers.reduce(0) { $0 + ($1.load?.metrics.deadExperts ?? 0) }
    let experts = layers.reduce(0) { $0 + $1.layer.rule.experts }
    return [
      .init(
        "mean Gini", Format.number(gini.mean),
        note: "worst \(Format.number(gini.worst)), floor \(Format.number(samplingFloor))"),
      .init("mean min/max", Format.number(ratio.mean), note: "worst \(Format.number(ratio.worst))"),
      .init("mean max/mean", Format.number(peak.mean), note: "worst \(Format.number(peak.worst))"),
      .init("without a token", Format.count(dead), note: "of \(Format.count(experts)) experts"),
    ]
  }

  private func appendLoad(to page: inout Page, source: String) {
    let known = layers.compactMap { entry in entry.load.map { (entry.layer.index, $0) } }
    let loads = known.map { LayerLoad(index: $0, original: $1, patched: nil) }
    let names = (original: "this checkpoint", patched: "")
    page.append(
      "Expert load",
      [.paragraph(source), .note(LoadPictures.key)]
        + [.grid(LoadPictures.heatMaps("Load", known))])
    page.append("Balance by layer", [.grid(LoadPictures.balance(loads, names: names))])
    if let ranks = LoadPictures.ranks(
      "Expert-parallel ranks of contiguous experts", known,
      top: LoadPictures.rankTop(known.map(\.1)))
    {
      page.append(
        "Rank imbalance",
        [
          .paragraph(
            "All ranks of a group wait for the busiest: 1 is perfect balance, 2 halves the speed."),
          ranks,
        ])
    }
    page.append("Load curves", LoadPictures.curves(loads, names: names))
    page.append("Load figures", [loadTable.markup])
  }

  private static let normScale = ColourScale(
    bounds: [0.5, 0.7, 0.85, 0.95, 1.05, 1.18, 1.4, 2], decimals: 2)
  private static let cosineScale = ColourScale(
    bounds: [-0.8, -0.5, -0.2, -0.05, 0.05, 0.2, 0.5, 0.8], decimals: 2)

  private func appendGates(to page: inout Page) {
    let norms = HeatMap(
      layers.map { entry in
        let mean = entry.gate.meanRowNorm
        return HeatMap.Row(
          label: String(entry.layer.index),
          title: "layer \(entry.layer.index): norms \(Format.number(entry.gate.minRowNorm)) to "
            + "\(Format.number(entry.gate.maxRowNorm)), mean \(Format.number(mean))",
          values: entry.gate.rowNorms.map { mean > 0 ? $0 / mean : nil })
      }, scale: Self.normScale, caption: "Row norms relative to the layer's mean",
      rowName: "layer", columnName: "expert")
    let nearest = HeatMap(
      layers.map { entry in
        HeatMap.Row(
          label: String(entry.layer.index),
          title: "layer \(entry.layer.index): largest cosine "
            + Format.number(entry.gate.maxCosine),
          values: entry.gate.nearestCosines)
      }, scale: Self.cosineScale, caption: "Cosine of each row with its nearest other row",
      rowName: "layer", columnName: "expert")
    let what = layout.hasPrototypeRouter ? "prototypes" : "gate rows"
    page.append(
      "Gate geometry",
      [
        .paragraph(
          "Norms and cosines of the \(what). A long row draws more tokens; rows that point the "
            + "same way compete for the same ones."),
        .grid([norms.markup, nearest.markup] + (pairs.map { [$0] } ?? [])),
      ])
    page.append("Gate figures", [gateTable.markup])
  }

  /// Cells along one side of the picture of pairs.
  private static let pairCells = 128

  /// All pairs of the layer with the most similar one. Where rows are many, a cell is the pair of
  /// largest magnitude among several.
  private var pairs: Markup? {
    guard let closest else { return nil }
    let count = closest.cosines.rows
    let block = (count + Self.pairCells - 1) / Self.pairCells
    let starts = Array(stride(from: 0, to: count, by: block))
    let rows = starts.map { top in
      HeatMap.Row(
        label: String(top), title: "row \(top)\(block > 1 ? " and following" : "")",
        values: starts.map { left in
          var extreme: Double?
          for row in top..<min(top + block, count) {
            for column in left..<min(left + block, count) where row != column {
              let cosine = Double(closest.cosines[row, column])
              if cosine.isFinite, abs(cosine) >= abs(extreme ?? 0) { extreme = cosine }
            }
          }
          return extreme
        })
    }
    let cell = block == 1 ? "" : ", \(block) x \(block) pairs a cell"
    return HeatMap(
      rows, scale: Self.cosineScale,
      caption: "Cosines of all pairs in layer \(closest.layer), which has the closest\(cell)",
      rowName: "row", columnName: block == 1 ? "row" : "row / \(block)", square: true
    ).markup
  }
}
