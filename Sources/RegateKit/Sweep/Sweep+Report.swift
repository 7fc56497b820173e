// SPDX-License-Identifier: Apache-2.0

import ByteStorage
public import Checkpoints
import ModelFitting
import OrderedCollections
public import Reports
import Routing

extension Sweep {
  /// The points as a table; the knee is marked.
  var table: TextTable {
    var table = TextTable(["strength", "Gini", "min/max", "NLL increase", "output error", ""])
    for point in points {
      table.append([
        Format.number(point.strength, decimals: 2), Format.number(point.gini),
        Format.number(point.minOverMax), Format.signed(point.lossIncrease, decimals: 4),
        Format.number(point.outputError), point.strength == knee?.strength ? "knee" : "",
      ])
    }
    return table
  }

  /// What the figures are measured on.
  private var basis: String {
    let held = fits.first?.overall?.tokens ?? 0
    return "\(Format.count(tokens)) tokens, of which \(Format.count(held)) of the calibration sets "
      + "were held out; figures are on those."
  }

  /// The report as text for a terminal.
  public var text: String {
    var lines = ["\(checkpoint), `router` \(form.rawValue): " + basis]
    lines += warnings.map { "warning: \($0)" }
    lines += ["", table.render(), ""]
    if let knee {
      lines.append("Knee: \(StrengthSearch.words(knee)), \(StrengthSearch.kneeMethod).")
    } else {
      lines.append(
        "No knee: too few points, nothing gained or lost along them, or the first step costs most.")
    }
    if let shown, shown.sets.count > 1 {
      lines += ["", "Each set at strength \(shown.strength):", SetTable.table(shown.sets).render()]
    }
    return lines.joined(separator: "\n")
  }

  /// The report as one JSON object.
  public var json: JSONValue {
    [
      "checkpoint": .string(checkpoint), "router": .string(form.rawValue),
      "points": .array(
        zip([nil] + fits.map(Optional.some), points).map { fit, point in
          var object = point.json
          object["sets"] = .array((fit?.sets ?? []).map(\.json))
          return object
        }), "knee": knee?.json ?? .null, "knee_method": .string(StrengthSearch.kneeMethod),
      "tokens": .integer(tokens), "precision": .optional(fits.first?.origin.precision),
      "held_out_tokens": .integer(fits.first?.overall?.tokens ?? 0),
      "sampling_floor": .optional(fits.first?.overall?.samplingFloor),
      "warnings": .array(warnings.map { .string($0) }),
    ]
  }

  /// The report as a page.
  public var page: Page {
    var page = Page(
      title: "Balance against quality: \(checkpoint.lastPathComponent)",
      lines: ["\(checkpoint), `router` \(form.rawValue)", basis],
      version: RegateVersion.current)
    page.append(warnings: warnings)
    if let knee { page.append(tiles(knee)) }
    page.append(
      "The curve",
      [
        .paragraph(
          "Every point is one strength, fitted side by side with the others and judged on tokens "
            + "that no fit saw. "
            + (knee == nil ? "No knee was found." : "The knee is \(StrengthSearch.kneeMethod).")),
        .grid([curve, byStrength]), table.markup,
      ])
    appendLoads(to: &page)
    return page
  }

  private func tiles(_ knee: BalancePoint) -> [Page.Tile] {
    let origin = points.first
    return [
      .init("knee at strength", Format.number(knee.strength, decimals: 2)),
      .init(
        "mean Gini", "\(Format.number(origin?.gini)) → \(Format.number(knee.gini))",
        note: "sampling floor \(Format.number(fits.first?.overall?.samplingFloor))"),
      .init(
        "mean min/max", "\(Format.number(origin?.minOverMax)) → \(Format.number(knee.minOverMax))",
        note: "1 is perfect balance"),
      .init("NLL increase", Format.signed(knee.lossIncrease, decimals: 4), note: "nats"),
      .init("output error", Format.number(knee.outputError), note: "relative, mean over layers"),
    ]
  }

  private var curve: Markup {
    let isLoss = points.contains { $0.lossIncrease != nil }
    let places = points.map { (x: $0.cost ?? .nan, y: $0.gini) }
    var series = [
      LineChart.Series(
        "strengths", colour: 1, points: places,
        labels: points.map { Format.number($0.strength, decimals: 2) })
    ]
    if let knee {
      series.append(
        .init("knee", colour: 0, kind: .marks, points: [(knee.cost ?? .nan, knee.gini)]))
    }
    return LineChart(
      "Gini by what it costs; labels are strengths",
      x: .init(isLoss ? "rise of the mean NLL, nats" : "output error, mean over layers"),
      y: .init("Gini", lower: 0), series: series
    ).markup
  }

  private var byStrength: Markup {
    LineChart(
      "Gini and min/max by strength", x: .init("strength", lower: 0, upper: 1),
      y: .init("mean over layers", lower: 0, upper: 1),
      series: [
        .init("Gini", colour: 1, points: points.map { ($0.strength, $0.gini) }),
        .init("min/max", colour: 2, points: points.map { ($0.strength, $0.minOverMax) }),
      ]
    ).markup
  }

  private func appendLoads(to page: inout Page) {
    guard let shown, let overall = shown.overall else { return }
    let names = (original: "original", patched: "strength \(shown.strength)")
    let loads = zip(shown.layerIndices, overall.loads).map { index, load in
      LayerLoad(
        index: index, original: LoadSummary(load: load.original, ranks: []),
        patched: LoadSummary(load: load.patched, ranks: []))
    }
    let after = loads.compactMap { load in load.patched.map { (load.index, $0) } }
    page.append(
      "Expert load before and after, at strength \(shown.strength)",
      [
        .note(LoadPictures.key),
        .grid(
          zip(
            LoadPictures.heatMaps("Original", loads.map { ($0.index, $0.original) }),
            LoadPictures.heatMaps("Strength \(shown.strength)", after)
          ).flatMap { [$0, $1] }),
      ])
    page.append("Balance by layer", [.grid(LoadPictures.balance(loads, names: names))])
    page.append("Load curves", LoadPictures.curves(loads, names: names))
    page.append("Each set at strength \(shown.strength)", [SetTable.table(shown.sets).markup])
  }
}
