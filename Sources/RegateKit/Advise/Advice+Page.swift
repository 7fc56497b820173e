// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Measures
public import Reports

extension Advice {
  /// The report as a page: the sentence, balance against loss, memory and time in pictures, and
  /// every figure.
  public var page: Page {
    var page = Page(
      title: "What to do: \(checkpoint.lastPathComponent)", lines: [checkpoint, basis],
      version: RegateVersion.current)
    page.append(warnings: warnings)
    page.append("Advice", [.list([sentence], kind: "good")] + remarks.map(Markup.note))
    for group in groups {
      page.append("On \(Format.count(group.ranks, of: "rank"))", [.grid(group.charts)])
    }
    page.append("What each option brings and costs", [table.markup])
    if let batchTable { page.append("Batch by batch", [batchTable.markup]) }
    page.append("How to read this", notes.map(Markup.note))
    page.append(
      "What makes it, and which runtimes were seen to load it",
      [.list(commandLines, kind: "commands")])
    return page
  }
}

extension Advice.Group {
  fileprivate var charts: [Markup] {
    let losses = rows.compactMap { $0.lossIncrease ?? $0.outputError }
    let isLoss = rows.contains { !$0.isLossless && $0.lossIncrease != nil }
    var charts = [
      balance(
        "Balance against memory", x: "experts on the fullest rank, relative to now",
        values: rows.map { Double($0.expertBytes) / Double(max(rows[0].expertBytes, 1)) })
    ]
    if losses.contains(where: { $0 != 0 }) {
      charts.insert(
        balance(
          "Balance against loss",
          x: isLoss ? "rise of the mean NLL, nats" : "output error, mean over layers",
          values: rows.map { (isLoss ? $0.lossIncrease : $0.outputError) ?? .nan }), at: 0)
    }
    return charts + [time].compactMap { $0 }
  }

  /// One mark for each option.
  private func balance(_ caption: String, x: String, values: [Double]) -> Markup {
    LineChart(
      caption, x: .init(x), y: .init("busiest rank / mean", lower: 1),
      series: zip(rows, values).enumerated().map { place, entry in
        LineChart.Series(
          entry.0.title, colour: place % LineChart.colours, kind: .marks,
          points: [(entry.1, entry.0.imbalance)])
      }
    ).markup
  }

  /// Time by batch size, one curve for each option; nil where there is no curve.
  private var time: Markup? {
    guard rows[0].batches.count > 1 else { return nil }
    return LineChart(
      "Time of the routed experts by batch size",
      x: .init("tokens of a batch", spacing: .logarithmic),
      y: .init("time relative to now", lower: 0),
      series: rows.enumerated().map { place, row in
        LineChart.Series(
          row.title, colour: place % LineChart.colours,
          points: zip(row.batches, times(row) ?? []).map { (Double($0.tokens), $1) })
      }
    ).markup
  }
}
