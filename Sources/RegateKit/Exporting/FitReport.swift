// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Fitting
import Forms
import Measures
import ModelFitting
import OrderedCollections
import Reports
import Routing

/// A fit for people and programs: what `fit` and `convert` both report.
struct FitReport {
  let fit: ModelFit
  /// The form that the figures are about.
  let form: RouterForm

  /// Lines for a terminal.
  var lines: [String] {
    var lines = [table.render(), ""]
    lines += prunedLines + concentrationLines + rankLines + layersLeftAlone
    if let fidelity { lines += [fidelity.render(), "", Self.fidelityNote] }
    return lines + (fit.isJudged(by: form) ? verdict : [otherForm])
  }

  /// Which experts are left out; empty where all stay.
  private var prunedLines: [String] {
    guard let count = fit.origin.budget.pruned else { return [] }
    let layers = fit.layers.map { layer in
      "Layer \(layer.fitted.index): without "
        + layer.fitted.routers.pruned.map(String.init).joined(separator: ", ")
    }
    return [
      "\(count) experts of each layer are left out, those whose loss changes its output least; the "
        + "router of the others stays as it is."
    ] + layers + [""]
  }

  /// How many experts a batch uses, where these were to be few.
  private var concentrationLines: [String] {
    guard fit.origin.budget.concentrates else { return [] }
    let distinct = fit.distinctExperts(form)
    return [
      "Fewer distinct experts were asked for, not even ones: \(RoutingFigures.batchTokens) consecutive "
        + "tokens use \(Format.number(distinct.after, decimals: 1)) experts of a layer, "
        + "\(Format.number(distinct.before, decimals: 1)) before (mean over layers).", "",
    ]
  }

  /// How even the ranks are, and what was done for it in each layer; empty where experts were to be
  /// even.
  private var rankLines: [String] {
    guard let imbalance = fit.rankImbalance(form) else { return [] }
    var ranks = TextTable(["ranks", "max/mean load", "fitted"])
    for entry in imbalance {
      ranks.append([
        String(entry.ranks), Format.number(entry.before), Format.number(entry.after),
      ])
    }
    let layers = zip(fit.layerIndices, fit.figures).map { index, layer in
      "Layer \(index): "
        + layer.rankStages.map { "\($0.means) \(Format.number($0.imbalance))" }
        .joined(separator: "; ")
    }
    return [
      "Even ranks were asked for, not even experts: the busiest rank over the mean, mean over layers.",
      ranks.render(), "",
      "What was tried for it, and the busiest rank over the mean then, in half-samples of the fitted "
        + "tokens; the last was taken:",
    ] + layers + [""]
  }

  /// What the held-out tokens and the calibration text say of the whole model.
  private var verdict: [String] {
    var lines: [String] = []
    if let overall = fit.overall, let point = fit.point {
      lines += [SetTable.table(fit.sets).render(), ""]
      lines.append(
        "Figures are on \(Format.count(overall.tokens)) held-out tokens of the calibration sets, which "
          + "no plan, router or gate saw (sampling floor of the Gini there: "
          + "\(Format.number(overall.samplingFloor))): \(StrengthSearch.words(point, for: fit.origin.budget)). Judge a finished "
          + "model with `Validation` on text of its own.")
      lines += evenLayers
    } else {
      lines.append(
        "There were too few calibration tokens to hold some out: these figures are on the tokens that "
          + "were fitted. Judge a finished model with `Validation` on text of its own.")
    }
    if let quality = fit.quality {
      let (before, after) = (quality.original, quality.patched)
      lines.append(
        "Mean NLL of the whole model on all calibration text, fitted and held out: "
          + "\(Format.number(before, decimals: 4)) before, \(Format.number(after, decimals: 4)) "
          + "after (\(Format.signed(after - before, decimals: 4))).")
    }
    return lines
  }

  /// In the place of `verdict` where the fit was judged by another form.
  private var otherForm: String {
    (fit.origin.budget.isJudged ? "The strength was chosen" : "The fit was judged")
      + " by the routers of the form \(fit.origin.form.rawValue): what is known of the form "
      + "\(form.rawValue) is the table above. Judge the finished model with `Validation` on text "
      + "of its own, or make a fit that is judged by this form."
  }

  private var table: TextTable {
    var table = TextTable([
      "layer", "Gini", "fitted", "min/max", "fitted", "overlap", "clones", "latent", "least Gini",
    ])
    for (index, layer) in zip(fit.layerIndices, fit.figures) {
      let before = layer.original.best.metrics
      let after = layer.evidence(of: form)?.best
      table.append([
        String(index), Format.number(before.gini), Format.number(after?.metrics.gini),
        Format.number(before.minOverMax), Format.number(after?.metrics.minOverMax),
        Format.percent(after?.agreement.overlap), String(layer.clones),
        String(layer.officialLatentSize ?? layer.latentSize), Format.number(layer.feasibleGini),
      ])
    }
    return table
  }

  /// Names the layers where the held-out tokens show nothing gained, or nothing that is sure.
  private var evenLayers: [String] {
    guard fit.strength > 0, fit.origin.budget.ranks == nil else { return [] }
    var (even, unsure): ([Int], [Int]) = ([], [])
    for (index, layer) in zip(fit.layerIndices, fit.figures) {
      guard !fit.unchangedLayers.contains(index), let gain = layer.heldOutGain(form) else {
        continue
      }
      if gain.gini <= 0 {
        even.append(index)
      } else if gain.gini < Self.sureErrors * gain.error {
        unsure.append(index)
      }
    }
    let sentences = [
      even.isEmpty
        ? nil
        : "Layers \(Self.list(even)): on the held-out tokens the original is as balanced as the "
          + "fit.",
      unsure.isEmpty
        ? nil
        : "Layers \(Self.list(unsure)): what the Gini falls by on the held-out tokens is within two "
          + "standard errors of so few, and may be chance.",
    ].compactMap(\.self)
    guard !sentences.isEmpty else { return [] }
    return sentences + [
      "Where a load is even already, a new router costs quality and gains nothing; a larger "
        + "calibration set shows whether that is so."
    ]
  }

  /// Standard errors above which a gain is believed.
  private static let sureErrors = 2.0

  /// Names the layers that stay as they are.
  private var layersLeftAlone: [String] {
    guard !fit.unchangedLayers.isEmpty, fit.strength > 0, fit.origin.budget.ranks == nil else {
      return []
    }
    return [
      "Layers \(Self.list(fit.unchangedLayers)): left alone. On the fitted tokens their load is as "
        + "even as chance lets so many tokens be.", "",
    ]
  }

  private static func list(_ layers: [Int]) -> String {
    layers.map(String.init).joined(separator: ", ")
  }

  // MARK: The official form

  /// How near the router of the official LPR code comes to the prototype router that it stands for,
  /// one line per layer; nil for other forms.
  private var fidelity: TextTable? {
    guard form == .lprOfficial else { return nil }
    var table = TextTable([
      "layer", "prototype Gini", "official", "same experts", "weights' KL", "output error",
    ])
    for (index, layer) in zip(fit.layerIndices, fit.figures) {
      guard let fidelity = layer.officialFidelity else { return nil }
      table.append([
        String(index), Format.number(layer.prototype.best.metrics.gini),
        Format.number(layer.official?.best.metrics.gini), Format.percent(fidelity.overlap),
        Format.number(fidelity.divergence),
        Format.number(fit.isJudged(by: form) ? layer.outputError : nil),
      ])
    }
    return table
  }

  /// What the table is about, and what the form cannot hold.
  private static let fidelityNote =
    "Prototype router against the official one distilled from it: share of the chosen experts that "
    + "both choose, KL of their weights in nats, and the official router's output error against the "
    + "original. Its scores are selection and weights in one: what the prototype router's biases "
    + "and clones did to the selection alone is folded into them as far as that goes."

  // MARK: JSON

  /// Seconds by phase.
  var phases: JSONValue {
    .object(
      OrderedDictionary(
        uniqueKeysWithValues: fit.phases.seconds.map {
          ($0.key.replacing(" ", with: "_"), .number($0.value))
        }))
  }
}
