// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import Measures
import OrderedCollections
import Reports
import Routing

extension LoadDrift {
  /// One figure of the layers.
  private struct Column {
    let title: String
    /// Its key where layers are summed up in JSON; nil where they are not.
    var key: String?
    var largestIsWorst = true
    var isShare = false
    let value: (Layer) -> Double?

    func cell(_ value: Double?) -> String {
      isShare ? Format.percent(value) : Format.number(value)
    }
  }

  private static var statistics: [(name: String, figure: KeyPath<LayerStatistics, Double?>)] {
    [("mean", \.mean), ("p50", \.p50), ("p75", \.p75), ("p95", \.p95), ("worst", \.worst)]
  }

  private var columns: [Column] {
    let drift = Dictionary(uniqueKeysWithValues: comparison.layers.map { ($0.index, $0) })
    let ranks = layers.first?.original.rankImbalance.map(\.ranks) ?? []
    return [
      Column(title: "Gini") { $0.original.metrics.gini },
      Column(title: "other") { $0.other.metrics.gini },
      Column(title: "max/mean") { $0.original.metrics.maxOverMean },
      Column(title: "other") { $0.other.metrics.maxOverMean },
      Column(title: "moved load", key: "total_variation", isShare: true) {
        drift[$0.index]?.totalVariation
      },
      Column(title: "divergence", key: "divergence") { drift[$0.index]?.divergence },
      Column(title: "busiest kept", key: "busiest_overlap", largestIsWorst: false, isShare: true) {
        drift[$0.index]?.busiest
      },
      Column(title: "choices kept", key: "overlap", largestIsWorst: false, isShare: true) {
        $0.agreement.overlap
      },
    ]
      + ranks.indices.flatMap { place in
        [
          Column(title: "EP\(ranks[place])") { $0.original.rankImbalance[place].value },
          Column(title: "other") { $0.other.rankImbalance[place].value },
        ]
      }
  }

  private func statistic(
    _ figure: KeyPath<LayerStatistics, Double?>, of column: Column
  ) -> Double? {
    LayerStatistics(layers.map(column.value), largestIsWorst: column.largestIsWorst)[
      keyPath: figure]
  }

  /// How the two are run.
  var method: String {
    likelihood == nil
      ? "Per layer, both routers on the original's inputs."
      : "Full pass: each model reads what its own layers before give."
  }

  /// What the figures are.
  static let key =
    "Moved load is the share of a layer's assignments that went to other experts (total variation); "
    + "divergence is Jensen and Shannon's, in bits. Busiest kept is the share of the busiest eighth "
    + "of the experts that is the same; choices kept that of the experts that single tokens chose."

  /// The report as text for a terminal.
  public var text: String {
    var lines = ["Load of \(other) against \(original), \(Format.count(tokens)) tokens", method]
    lines += warnings.map { "warning: \($0)" }
    lines += ["", table.render(), "", Self.key]
    lines += [likelihoodText, comparison.specialistText].compactMap(\.self)
    return lines.joined(separator: "\n")
  }

  var likelihoodText: String? {
    likelihood.map {
      "Mean NLL \(Format.number($0.original, decimals: 4)), other "
        + "\(Format.number($0.other, decimals: 4)) "
        + "(\(Format.signed($0.other - $0.original, decimals: 4)))."
    }
  }

  /// The figures of every layer, and what they come to; percentiles only of more than a few layers.
  var table: TextTable {
    let columns = columns
    var table = TextTable(["layer"] + columns.map(\.title))
    for layer in layers {
      table.append([String(layer.index)] + columns.map { $0.cell($0.value(layer)) })
    }
    guard layers.count > 1 else { return table }
    table.appendRule()
    for (name, figure) in Self.statistics where layers.count > 3 || name == "mean" {
      table.append([name] + columns.map { $0.cell(statistic(figure, of: $0)) })
    }
    return table
  }

  /// The report as one JSON object.
  public var json: JSONValue {
    var object: JSONValue = [
      "original": .string(original), "other": .string(other),
      "protocol": likelihood == nil ? "per layer, original inputs" : "full pass",
      "tokens": .integer(tokens), "precision": .optional(precision),
      "layers": .array(layers.map(json)),
      "nll": [
        "original": .optional(likelihood?.original), "other": .optional(likelihood?.other),
      ],
      "comparison": comparison.json,
      "warnings": .array(warnings.map { .string($0) }),
    ]
    for (name, figure) in Self.statistics {
      var summary: JSONValue = [:]
      for column in columns {
        if let key = column.key { summary[key] = .optional(statistic(figure, of: column)) }
      }
      object[name] = summary
    }
    return object
  }

  private func json(_ layer: Layer) -> JSONValue {
    var object: JSONValue = [
      "index": .integer(layer.index), "original": layer.original.json, "other": layer.other.json,
      "routing_kl": .number(layer.agreement.divergence),
    ]
    for column in columns {
      if let key = column.key { object[key] = .optional(column.value(layer)) }
    }
    return object
  }
}
