// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import Inference
import Measures
import OrderedCollections
import Reports
import Routing

extension Validation {
  static func mean(_ values: [Double?]) -> Double? {
    LayerStatistics(values, largestIsWorst: true).mean
  }

  /// The report as text for a terminal.
  public var text: String {
    var lines = [
      "\(original) against \(patched), \(Format.count(tokens)) tokens",
      quality == nil
        ? "Per layer, both routers on the original's inputs"
        : "Full pass: every patched layer reads what the patched layers before it give",
    ]
    lines += warnings.map { "warning: \($0)" }
    lines += ["", table.render(), ""]
    if let batchTable { lines += [batchTable.render(), batchNote, ""] }
    if sets.count > 1 { lines += ["Each set:", SetTable.table(sets).render(), ""] }
    lines.append(
      "Sampling floor of the Gini on so many tokens: \(Format.number(samplingFloor)). "
        + "Balance pays under expert parallelism, not on one GPU.")
    if let quality {
      let change = quality.patched.nll - quality.original.nll
      lines.append(
        "Mean NLL \(Format.number(quality.original.nll, decimals: 4)), patched "
          + "\(Format.number(quality.patched.nll, decimals: 4)) (\(change >= 0 ? "+" : "")"
          + "\(Format.number(change, decimals: 4))); perplexity "
          + "\(Format.number(quality.original.perplexity)), patched "
          + "\(Format.number(quality.patched.perplexity)); next-token KL "
          + "\(Format.number(quality.divergence, decimals: 4)), same top token "
          + "\(Format.percent(quality.topAgreement)). Counted: "
          + "\(quality.perplexityProtocol.description), \(Format.count(quality.positions)) tokens.")
    }
    if let undecodable {
      lines.append("No output error: the experts cannot be decoded (\(undecodable))")
    }
    lines += failures.map { "NOT MET: \($0)" }
    return lines.joined(separator: "\n")
  }

  /// The figures of every layer, and their means.
  var table: TextTable {
    let ranks = layers.first?.patched.rankImbalance.map(\.ranks) ?? []
    var table = TextTable(
      [
        "layer", "Gini", "patched", "floor", "min/max", "patched", "max/mean", "patched", "experts",
        "overlap", "output error",
      ] + ranks.flatMap { ["EP\($0)", "patched"] })
    for layer in layers {
      let (a, b) = (layer.original.metrics, layer.patched.metrics)
      let imbalance = zip(layer.original.rankImbalance, layer.patched.rankImbalance).flatMap {
        [Format.number($0.value), Format.number($1.value)]
      }
      table.append(
        [
          String(layer.index), Format.number(a.gini), Format.number(b.gini),
          Format.number(b.samplingFloor),
          Format.number(a.minOverMax), Format.number(b.minOverMax), Format.number(a.maxOverMean),
          Format.number(b.maxOverMean), String(layer.logicalExperts),
          Format.percent(layer.agreement.overlap), Format.number(layer.outputError),
        ] + imbalance)
    }
    guard layers.count > 1 else { return table }
    table.appendRule()
    func cell(_ value: (Layer) -> Double?) -> String { Format.number(Self.mean(layers.map(value))) }
    table.append(
      [
        "mean", cell { $0.original.metrics.gini }, cell { $0.patched.metrics.gini },
        cell { $0.patched.metrics.samplingFloor },
        cell { $0.original.metrics.minOverMax }, cell { $0.patched.metrics.minOverMax },
        cell { $0.original.metrics.maxOverMean }, cell { $0.patched.metrics.maxOverMean },
        Format.number(Self.mean(layers.map { Double($0.logicalExperts) }), decimals: 1),
        Format.percent(Self.mean(layers.map(\.agreement.overlap))), cell(\.outputError),
      ]
        + ranks.indices.flatMap { index in
          [
            cell { $0.original.rankImbalance[index].value },
            cell { $0.patched.rankImbalance[index].value },
          ]
        })
    return table
  }

  /// The report as one JSON object. Figures that need the whole model to be run are null.
  public var json: JSONValue {
    [
      "original": .string(original), "patched": .string(patched),
      "protocol": quality == nil ? "per layer, original inputs" : "full pass",
      "layers": .array(
        layers.map(\.json)),
      "mean": [
        "original": Self.summary(layers.map(\.original)),
        "patched": Self.summary(layers.map(\.patched)),
        "overlap": .optional(Self.mean(layers.map(\.agreement.overlap))),
        "duplicate_rate": .optional(Self.mean(layers.map(\.agreement.duplicateRate))),
        "output_error": .optional(Self.mean(layers.map(\.outputError))),
        "rank_batches": Self.json(rankBatches),
      ],
      "worst": Self.extremes(layers, \.worst), "p90": Self.extremes(layers, \.p90),
      "nll": [
        "original": .optional(quality?.original.nll), "patched": .optional(quality?.patched.nll),
      ],
      "perplexity": [
        "original": .optional(quality?.original.perplexity),
        "patched": .optional(quality?.patched.perplexity),
      ],
      "ppl_protocol": .optional(quality?.perplexityProtocol.rawValue),
      "scored_tokens": quality.map { .integer($0.positions) } ?? .null,
      "kl": .optional(quality?.divergence), "top1_agreement": .optional(quality?.topAgreement),
      "tokens": .integer(tokens), "sampling_floor": .optional(samplingFloor),
      "sets": .array(sets.map(\.json)),
      "failures": .array(failures.map { .string($0) }),
      "warnings": .array(warnings.map { .string($0) }),
      "passed": .bool(passed),
    ]
  }

  private static func summary(_ loads: [LoadSummary]) -> JSONValue {
    [
      "gini": .optional(mean(loads.map(\.metrics.gini))),
      "min_max": .optional(mean(loads.map(\.metrics.minOverMax))),
      "cv": .optional(mean(loads.map(\.metrics.coefficientOfVariation))),
      "max_over_mean": .optional(mean(loads.map(\.metrics.maxOverMean))),
    ]
  }

  private static func extremes(
    _ layers: [Layer], _ figure: KeyPath<LayerStatistics, Double?>
  ) -> JSONValue {
    func side(_ loads: [LoadSummary]) -> JSONValue {
      func value(_ values: [Double?], largestIsWorst: Bool = true) -> JSONValue {
        .optional(LayerStatistics(values, largestIsWorst: largestIsWorst)[keyPath: figure])
      }
      return [
        "gini": value(loads.map(\.metrics.gini)),
        "min_max": value(loads.map(\.metrics.minOverMax), largestIsWorst: false),
        "max_over_mean": value(loads.map(\.metrics.maxOverMean)),
      ]
    }
    return [
      "original": side(layers.map(\.original)), "patched": side(layers.map(\.patched)),
      "output_error": .optional(
        LayerStatistics(layers.map(\.outputError), largestIsWorst: true)[keyPath: figure]),
    ]
  }
}

extension Validation.Layer: JSONRepresentable {
  /// The layer as one JSON object.
  public var json: JSONValue {
    [
      "index": .integer(index), "original": original.json, "patched": patched.json,
      "logical_experts": .integer(logicalExperts), "overlap": .number(agreement.overlap),
      "duplicate_rate": .number(agreement.duplicateRate),
      "routing_kl": .number(agreement.divergence), "output_error": .optional(outputError),
      "rank_batches": Validation.json(rankBatches),
    ]
  }
}
