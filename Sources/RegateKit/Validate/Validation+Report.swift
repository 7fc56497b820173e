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
    if let worstToken { lines.append(worstToken + ".") }
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
        "overlap", "output error", "worst token",
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
          Format.number(layer.worstTokenError),
        ] + imbalance)
    }
    guard layers.count > 1 else { return table }
    table.appendRule()
    for (label, figure) in rows {
      func cell(largestIsWorst: Bool = true, _ value: (Layer) -> Double?) -> String {
        Format.number(statistic(figure, largestIsWorst: largestIsWorst, value))
      }
      table.append(
        [
          label, cell { $0.original.metrics.gini }, cell { $0.patched.metrics.gini },
          cell { $0.patched.metrics.samplingFloor },
          cell(largestIsWorst: false) { $0.original.metrics.minOverMax },
          cell(largestIsWorst: false) { $0.patched.metrics.minOverMax },
          cell { $0.original.metrics.maxOverMean }, cell { $0.patched.metrics.maxOverMean },
          Format.number(
            statistic(figure, largestIsWorst: false) { Double($0.logicalExperts) }, decimals: 1),
          Format.percent(statistic(figure, largestIsWorst: false, \.agreement.overlap)),
          cell(\.outputError), cell(\.worstTokenError),
        ]
          + ranks.indices.flatMap { index in
            [
              cell { $0.original.rankImbalance[index].value },
              cell { $0.patched.rankImbalance[index].value },
            ]
          })
    }
    return table
  }

  /// The rows below the layers; percentiles only of more layers than there are rows of them.
  private var rows: [(label: String, figure: KeyPath<LayerStatistics, Double?>)] {
    let percentiles: [(String, KeyPath<LayerStatistics, Double?>)] = [
      ("p50", \.p50), ("p75", \.p75), ("p95", \.p95),
    ]
    return [("mean", \.mean)] + (layers.count > percentiles.count ? percentiles : [])
  }

  private func statistic(
    _ figure: KeyPath<LayerStatistics, Double?>, largestIsWorst: Bool = true,
    _ value: (Layer) -> Double?
  ) -> Double? {
    LayerStatistics(layers.map(value), largestIsWorst: largestIsWorst)[keyPath: figure]
  }

  /// The token that is served worst in any layer.
  var worstToken: String? {
    let worst = layers.compactMap { layer in layer.worstToken.map { (layer.index, $0) } }
      .max { $0.1.value < $1.1.value }
    return worst.map { layer, token in
      let place = token.sequence.map { "sequence \($0), position \(token.position)" }
      return "Worst token: output error \(Format.number(token.value)) in layer \(layer), "
        + "\(token.set), \(place ?? "token \(token.position)")"
    }
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
      "worst": extremes(\.worst), "p90": extremes(\.p90),
      "p50": extremes(\.p50), "p75": extremes(\.p75), "p95": extremes(\.p95),
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
      "tokens": .integer(tokens), "precision": .optional(precision),
      "sampling_floor": .optional(samplingFloor),
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

  private func extremes(_ figure: KeyPath<LayerStatistics, Double?>) -> JSONValue {
    func value(_ value: (Layer) -> Double?, largestIsWorst: Bool = true) -> JSONValue {
      .optional(statistic(figure, largestIsWorst: largestIsWorst, value))
    }
    func side(_ load: @escaping (Layer) -> LoadSummary) -> JSONValue {
      [
        "gini": value { load($0).metrics.gini },
        "min_max": value({ load($0).metrics.minOverMax }, largestIsWorst: false),
        "max_over_mean": value { load($0).metrics.maxOverMean },
      ]
    }
    return [
      "original": side(\.original), "patched": side(\.patched),
      "overlap": value(\.agreement.overlap, largestIsWorst: false),
      "output_error": value(\.outputError), "worst_token_error": value(\.worstTokenError),
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
      "worst_token": worstToken?.json ?? .null,
      "rank_batches": Validation.json(rankBatches),
    ]
  }

  /// Its largest error; 0 where no token differs, and nil where none is known.
  var worstTokenError: Double? { worstToken?.value ?? (outputError == 0 ? 0 : nil) }
}

extension Validation.TokenError {
  fileprivate var json: JSONValue {
    [
      "output_error": .number(value), "set": .string(set),
      "sequence": sequence.map { .integer($0) } ?? .null, "position": .integer(position),
    ]
  }
}
