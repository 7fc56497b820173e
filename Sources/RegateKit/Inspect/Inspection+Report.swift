// SPDX-License-Identifier: Apache-2.0

import Architectures
public import Checkpoints
import Measures
import OrderedCollections
import Reports
import Routing
import Tensors
import Traffic

extension Inspection {
  /// The report as text for a terminal.
  public var text: String {
    var lines = [headline]
    if let first = layers.first?.layer {
      lines.append(describe(first))
    }
    lines += layout.extraRouters.map(\.notice)
    lines += warnings.map { "warning: \($0)" }
    lines += ["", gateTable.render()]
    if let loadSource, let tokens {
      lines += ["", "Load from \(loadSource), \(Format.count(tokens)) tokens", loadTable.render()]
      lines += ["", "Sampling floor of the Gini: \(Format.number(samplingFloor))"]
      if layers.contains(where: { $0.load?.batchImbalance.isEmpty == true }) {
        lines.append("Totals only: how even single batches are is not known.")
      }
      if !comparisons.isEmpty {
        lines += ["", comparisonTable.render(), ""] + comparisons.compactMap(\.specialistText)
      }
    } else {
      lines += [
        "", "Load is not known: give `calibration` (text, token ids or a capture) or `counts`.",
      ]
    }
    return lines.joined(separator: "\n")
  }

  private var comparisonTable: TextTable {
    var table = TextTable(["loads", "overlap", "divergence in bits"])
    for pair in comparisons {
      table.append([
        pair.names.joined(separator: ", "), Format.number(pair.overlap),
        Format.number(pair.divergence),
      ])
    }
    return table
  }

  var headline: String {
    let own = layers.filter { $0.layer.index < layout.layerCount }.count
    return "\(path): \(layout.family.title), \(layout.container.rawValue), \(own) of "
      + "\(layout.layerCount) layers MoE, hidden size \(layout.hiddenSize)"
  }

  /// 1/sqrt(pi lambda), the Gini that perfect balance shows on so many tokens; the largest layer's.
  public var samplingFloor: Double? {
    layers.compactMap { $0.load?.metrics.samplingFloor }.max()
  }

  func describe(_ layer: MoELayer) -> String {
    let rule = layer.rule
    var words = ["\(rule.experts) experts, top-\(rule.topK), \(rule.scoring.rawValue)"]
    if rule.normalise { words.append("renormalised") }
    if rule.scale != 1 { words.append("scale \(rule.scale)") }
    if let groups = rule.groups { words.append("\(groups.kept) of \(groups.count) groups") }
    if layer.sharedExperts > 0 { words.append("\(layer.sharedExperts) shared") }
    words.append("expert width \(layer.expertWidth)")
    return words.joined(separator: ", ")
  }

  var gateTable: TextTable {
    var table = TextTable([
      "layer", "router", "norm min", "mean", "max", "max cosine", "eff. rank", "bias",
    ])
    for entry in layers {
      let gate = entry.gate
      table.append([
        String(entry.layer.index), "\(entry.layer.routerType.rawValue) \(entry.layer.gate.shape)",
        Format.number(gate.minRowNorm), Format.number(gate.meanRowNorm),
        Format.number(gate.maxRowNorm), Format.number(gate.maxCosine),
        Format.number(gate.effectiveRank, decimals: 1),
        gate.biasRange.map {
          "\(Format.number($0.lowerBound)) to \(Format.number($0.upperBound))"
        } ?? "-",
      ])
    }
    return table
  }

  var loadTable: TextTable {
    let ranks = layers.first?.load?.rankImbalance.map(\.ranks) ?? []
    var table = TextTable(
      ["layer", "Gini", "min/max", "CV", "max/mean", "dead", "entropy"]
        + ranks.map { "max/mean EP\($0)" })
    for entry in layers {
      guard let load = entry.load else { continue }
      let metrics = load.metrics
      table.append(
        [
          String(entry.layer.index), Format.number(metrics.gini),
          Format.number(metrics.minOverMax), Format.number(metrics.coefficientOfVariation),
          Format.number(metrics.maxOverMean), String(metrics.deadExperts),
          Format.number(metrics.normalisedEntropy),
        ] + load.rankImbalance.map { Format.number($0.value) })
    }
    guard layers.count > 1 else { return table }
    table.appendRule()
    let loads = layers.compactMap(\.load)
    let figures: [(String, KeyPath<LayerStatistics, Double?>)] = [
      ("mean", \.mean), ("p90", \.p90), ("worst", \.worst),
    ]
    for (label, figure) in figures {
      func cell(largestIsWorst: Bool = true, _ value: (LoadSummary) -> Double?) -> String {
        Format.number(
          LayerStatistics(loads.map(value), largestIsWorst: largestIsWorst)[keyPath: figure])
      }
      table.append(
        [
          label, cell { $0.metrics.gini }, cell(largestIsWorst: false) { $0.metrics.minOverMax },
          cell { $0.metrics.coefficientOfVariation }, cell { $0.metrics.maxOverMean },
          cell { Double($0.metrics.deadExperts) },
          cell(largestIsWorst: false) { $0.metrics.normalisedEntropy },
        ] + ranks.indices.map { index in cell { $0.rankImbalance[index].value } })
    }
    return table
  }

  /// The report as one JSON object.
  public var json: JSONValue {
    [
      "checkpoint": .string(path),
      "family": .string(family),
      "container": .string(container),
      "hidden_size": .integer(hiddenSize),
      "layer_count": .integer(layerCount),
      "load_source": .optional(loadSource),
      "tokens": tokens.map { .integer($0) } ?? .null,
      "sampling_floor": .optional(samplingFloor),
      "comparisons": .array(comparisons.map(\.json)),
      "layers": .array(layers.map(\.json)),
      ExpertTable.routersKey: .optional(routerFingerprint),
      "extra_routers": .array(extraRouters.map { .string($0) }),
      "warnings": .array(warnings.map { .string($0) }),
    ]
  }
}

extension Inspection.Layer: JSONRepresentable {
  /// The layer as one JSON object.
  public var json: JSONValue {
    var object: JSONValue = [
      "index": .integer(index),
      "experts": .integer(experts),
      "top_k": .integer(topK),
      "scoring": .string(scoring),
      "normalise": .bool(normalises),
      "scale": .number(scale),
      "groups": groups.map {
        [
          "count": .integer($0.count), "kept": .integer($0.kept),
          "score": .string($0.score),
        ]
      } ?? .null,
      "shared_experts": .integer(sharedExperts),
      "expert_width": .integer(expertWidth),
      "router": .string(router),
      "router_dtype": .string(routerType.rawValue),
      "router_shape": .array(routerShape.map { .integer($0) }),
      "row_norm": [
        "min": .optional(gate.minRowNorm), "mean": .optional(gate.meanRowNorm),
        "max": .optional(gate.maxRowNorm),
      ],
      "max_cosine": .optional(gate.maxCosine),
      "effective_rank": .optional(gate.effectiveRank),
      "bias_range": gate.biasRange.map { [.number($0.lowerBound), .number($0.upperBound)] }
        ?? .null,
    ]
    // The same keys with and without load, so that a reader can rely on them.
    let load = self.load?.json
    for key in [
      "load", "gini", "min_max", "cv", "max_over_mean", "dead_experts", "normalised_entropy",
      "batch_max_over_mean", "rank_max_over_mean",
    ] {
      object[key] = .some(load?[key] ?? .null)
    }
    return object
  }
}

extension ExtraRouter {
  /// What a report says of it.
  var notice: String {
    "Left alone: \(gate.name), the router of a layer for multi-token prediction"
      + (index == nil ? "." : " (`mtp` includes it).")
  }
}
