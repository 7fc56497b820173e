// SPDX-License-Identifier: Apache-2.0

import ByteStorage
public import Reports
import Routing

extension Validation {
  private static let names = (original: "original", patched: "patched")

  /// The report as a page: load before and after in pictures, and every figure.
  public var page: Page {
    var page = Page(
      title: "\(patched.lastPathComponent) against \(original.lastPathComponent)",
      lines: [
        "Patched \(patched), original \(original), \(Format.count(tokens)) tokens.",
        quality == nil
          ? "Per layer, both routers on the original's inputs."
          : "Full pass: every patched layer reads what the patched layers before it give.",
      ], version: RegateVersion.current)
    page.append(warnings: warnings)
    page.append(tiles)
    appendChecks(to: &page)
    let loads = layers.map {
      LayerLoad(index: $0.index, original: $0.original, patched: $0.patched)
    }
    page.append(
      "Expert load before and after",
      [
        .note(LoadPictures.key),
        .grid(
          zip(
            LoadPictures.heatMaps("Original", layers.map { ($0.index, $0.original) }),
            LoadPictures.heatMaps("Patched", layers.map { ($0.index, $0.patched) })
          ).flatMap { [$0, $1] }),
      ])
    page.append("Balance by layer", [.grid(LoadPictures.balance(loads, names: Self.names))])
    appendRanks(to: &page)
    page.append("Load curves", LoadPictures.curves(loads, names: Self.names))
    if sets.count > 1 { page.append("Each set", [SetTable.table(sets).markup]) }
    page.append("Figures", [table.markup] + remarks.map(Markup.note))
    return page
  }

  private var tiles: [Page.Tile] {
    func change(_ before: Double?, _ after: Double?, decimals: Int = 3) -> String {
      "\(Format.number(before, decimals: decimals)) → \(Format.number(after, decimals: decimals))"
    }
    func means(_ figure: (LoadSummary) -> Double?) -> (Double?, Double?) {
      (Self.mean(layers.map { figure($0.original) }), Self.mean(layers.map { figure($0.patched) }))
    }
    let (gini, ratio) = (means(\.metrics.gini), means(\.metrics.minOverMax))
    let peak = means(\.metrics.maxOverMean)
    var tiles: [Page.Tile] = [
      .init(
        "mean Gini", change(gini.0, gini.1),
        note: "sampling floor \(Format.number(samplingFloor))"),
      .init("mean min/max", change(ratio.0, ratio.1), note: "1 is perfect balance"),
      .init("mean max/mean", change(peak.0, peak.1), note: "1 is perfect balance"),
      .init(
        "overlap", Format.percent(Self.mean(layers.map(\.agreement.overlap))),
        note: "of the chosen experts stay"),
      .init(
        "output error", Format.number(Self.mean(layers.map(\.outputError))),
        note: undecodable.map { "not known: \($0)" } ?? "relative, mean over layers"),
    ]
    guard let quality else { return tiles }
    let rise = quality.patched.nll - quality.original.nll
    tiles += [
      .init(
        "mean NLL", change(quality.original.nll, quality.patched.nll, decimals: 4),
        note: "\(rise >= 0 ? "+" : "")\(Format.number(rise, decimals: 4)) nats"),
      .init("perplexity", change(quality.original.perplexity, quality.patched.perplexity)),
      .init(
        "next-token KL", Format.number(quality.divergence, decimals: 4),
        note: "same top token \(Format.percent(quality.topAgreement))"),
    ]
    return tiles
  }

  private func appendChecks(to page: inout Page) {
    guard !checks.isEmpty else { return }
    let met = checks.filter(\.met).map { "met: \($0)" }
    page.append(
      passed ? "All thresholds are met" : "Thresholds are not met",
      (failures.isEmpty ? [] : [.list(failures.map { "NOT MET: \($0)" }, kind: "bad")])
        + (met.isEmpty ? [] : [.list(met, kind: "good")]))
  }

  private func appendRanks(to page: inout Page) {
    let top = LoadPictures.rankTop(layers.map(\.original) + layers.map(\.patched))
    let charts = [
      LoadPictures.ranks("Original", layers.map { ($0.index, $0.original) }, top: top),
      LoadPictures.ranks("Patched", layers.map { ($0.index, $0.patched) }, top: top),
    ].compactMap { $0 }
    guard !charts.isEmpty else { return }
    page.append(
      "Busiest expert-parallel rank by layer",
      [.grid(charts)] + (batchTable.map { [$0.markup, .note(batchNote)] } ?? []))
  }

  private var remarks: [String] {
    [
      "Gini of 0 is perfect balance; the floor is what perfect balance shows on so many tokens. "
        + "Overlap is the share of the original's chosen experts that the patched router chose too. "
        + "Output error is that of the routed experts' sum, relative to the original's. Balance pays "
        + "under expert parallelism, not on one GPU."
    ] + (quality == nil ? [] : ["NLL and perplexity are over all shifted positions."])
  }
}
