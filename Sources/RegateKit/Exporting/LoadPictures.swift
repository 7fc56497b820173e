// SPDX-License-Identifier: Apache-2.0
//
// Expert load in pictures, in the way of the LPR paper's figure 1: a heat map of layers x experts
// by number and by rank, and each layer's experts from most to least loaded as a curve. Load is
// relative to the layer's mean, so that 1 is perfect balance whatever the number of tokens.

import Reports
import Routing

/// One layer's load before and, where there is one, after.
struct LayerLoad: Sendable {
  let index: Int
  let original: LoadSummary
  let patched: LoadSummary?
}

enum LoadPictures {
  private static let scale = ColourScale(
    bounds: [0.125, 0.25, 0.5, 0.8, 1.25, 2, 4, 8], zero: "no token", decimals: 3)

  /// What the colours of the heat maps mean.
  static let key =
    "Colour is an expert's load relative to the layer's mean: 1 is perfect balance. By number, "
    + "an expert stays in its column; sorted, each layer runs from its most to its least loaded "
    + "expert."

  /// A heat map by expert number, and one with every layer sorted.
  static func heatMaps(_ title: String, _ layers: [(index: Int, load: LoadSummary)]) -> [Markup] {
    [false, true].map { sorted in
      HeatMap(
        layers.map { layer in
          let shares = relative(layer.load.load)
          return HeatMap.Row(
            label: String(layer.index), title: words(layer.index, layer.load.metrics),
            values: sorted ? shares.sorted { ($0 ?? 0) > ($1 ?? 0) } : shares)
        }, scale: scale, caption: "\(title), \(sorted ? "sorted" : "by number")", rowName: "layer",
        columnName: sorted ? "expert by rank of its load" : "expert"
      ).markup
    }
  }

  /// Load over the mean; all undefined where no token was counted.
  private static func relative(_ load: [Int]) -> [Double?] {
    let total = load.reduce(0.0) { $0 + Double($1) }
    guard total > 0 else { return load.map { _ in nil } }
    let mean = total / Double(load.count)
    return load.map { Double($0) / mean }
  }

  private static func words(_ layer: Int, _ metrics: LoadMetrics) -> String {
    "layer \(layer): Gini \(Format.number(metrics.gini)), min/max "
      + "\(Format.number(metrics.minOverMax)), \(metrics.deadExperts) without a token"
  }

  /// Points of a sorted-load curve: more than its few pixels can show.
  private static let curvePoints = 96

  /// One small chart for each layer: its experts from most to least loaded.
  static func curves(_ layers: [LayerLoad], names: (original: String, patched: String)) -> [Markup]
  {
    let top =
      layers.flatMap { layer in
        [layer.original, layer.patched].compactMap { $0?.metrics.maxOverMean }
      }.max() ?? 1
    let charts = layers.map { layer in
      LineChart(
        curveCaption(layer), x: .init("rank", lower: 1, whole: true),
        y: .init("load / mean", spacing: .squareRoot, lower: 0, upper: max(top, 1)),
        series: series(layer, names), size: .small)
    }
    let legend = layers.first.map { LineChart.legend(series($0, names)) }
    return [
      .note(
        "Experts from most to least loaded along, load relative to the mean upwards on a "
          + "square-root scale, the same in all layers.")
    ] + (legend.map { [$0] } ?? []) + [.multiples(charts.map(\.markup))]
  }

  private static func curveCaption(_ layer: LayerLoad) -> String {
    let before = Format.number(layer.original.metrics.gini)
    return "layer \(layer.index): Gini \(before)"
      + (layer.patched.map { " → " + Format.number($0.metrics.gini) } ?? "")
  }

  private static func series(
    _ layer: LayerLoad, _ names: (original: String, patched: String)
  ) -> [LineChart.Series] {
    let even = LineChart.Series(
      "perfect balance", colour: 0, kind: .reference,
      points: [(1, 1), (Double(layer.original.load.count), 1)])
    return [LineChart.Series(names.original, colour: 0, points: sorted(layer.original))]
      + (layer.patched.map {
        [LineChart.Series(names.patched, colour: 1, points: sorted($0))]
      } ?? []) + [even]
  }

  private static func sorted(_ load: LoadSummary) -> [(x: Double, y: Double?)] {
    let values = relative(load.load).sorted { ($0 ?? 0) > ($1 ?? 0) }
    guard values.count > curvePoints else {
      return values.enumerated().map { (Double($0 + 1), $1) }
    }
    return (0..<curvePoints).map { point in
      let place = point * (values.count - 1) / (curvePoints - 1)
      return (Double(place + 1), values[place])
    }
  }

  /// Gini and min/max over the layers, the Gini beside its sampling floor.
  static func balance(
    _ layers: [LayerLoad], names: (original: String, patched: String)
  ) -> [Markup] {
    func points(
      _ side: (LayerLoad) -> LoadSummary?, _ figure: (LoadMetrics) -> Double?
    ) -> [(x: Double, y: Double?)] {
      layers.map { (Double($0.index), side($0).flatMap { figure($0.metrics) }) }
    }
    func both(_ figure: (LoadMetrics) -> Double?) -> [LineChart.Series] {
      let before = LineChart.Series(names.original, colour: 0, points: points(\.original, figure))
      guard layers.contains(where: { $0.patched != nil }) else { return [before] }
      return [before, .init(names.patched, colour: 1, points: points(\.patched, figure))]
    }
    let floor = LineChart.Series(
      "sampling floor", colour: 0, kind: .reference,
      points: points({ $0.patched ?? $0.original }, \.samplingFloor))
    let x = LineChart.Axis("layer", whole: true)
    return [
      LineChart(
        "Gini of the expert load by layer", x: x, y: .init("Gini", lower: 0),
        series: both(\.gini) + [floor]
      ).markup,
      LineChart(
        "Least over most loaded expert by layer", x: x, y: .init("min/max", lower: 0, upper: 1),
        series: both(\.minOverMax)
      ).markup,
    ]
  }

  /// The highest max/mean over ranks in any of `loads`.
  static func rankTop(_ loads: [LoadSummary]) -> Double {
    loads.flatMap { $0.rankImbalance.compactMap(\.value) }.max() ?? 1
  }

  /// Max/mean over expert-parallel ranks, one curve for each rank count; nil without any. Charts
  /// to compare have one `top`.
  static func ranks(
    _ title: String, _ layers: [(index: Int, load: LoadSummary)], top: Double
  ) -> Markup? {
    let counts = layers.first?.load.rankImbalance.map(\.ranks) ?? []
    guard !counts.isEmpty else { return nil }
    let series = counts.enumerated().map { place, ranks in
      LineChart.Series(
        "\(ranks) ranks", colour: place % 6,
        points: layers.map { layer in
          (
            Double(layer.index),
            layer.load.rankImbalance.first { $0.ranks == ranks }.flatMap(\.value)
          )
        })
    }
    return LineChart(
      title, x: .init("layer", whole: true), y: .init("busiest rank / mean", lower: 1, upper: top),
      series: series
    ).markup
  }
}
