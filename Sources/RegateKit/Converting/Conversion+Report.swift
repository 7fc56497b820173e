// SPDX-License-Identifier: Apache-2.0

import Architectures
public import Checkpoints
import Fitting
import Inference
import OrderedCollections
import Reports
import Routing

extension Conversion {
  /// What `regate.json` says beside the list of files.
  func manifest(patches: [LayerPatch], fit: ModelFit?) -> JSONValue {
    [
      "regate": .string(RegateVersion.current), "manifest": .integer(RegateVersion.manifest),
      "router": .string(form.rawValue), "source": .string(request.checkpoint.lastPathComponent),
      "family": .string(model.layout.family.name),
      "container": .string(model.layout.container.rawValue), "options": options,
      "figures": figures(fit),
      "layers": .array(
        patches.map { patch in
          [
            "index": .integer(patch.layer.index),
            "slot_function": .array(patch.slotFunction.map { .integer($0) }),
          ]
        }),
    ]
  }

  private var options: JSONValue {
    var options: JSONValue = [
      "levers": request.clones ? ["clone", "route"] : ["route"],
      "latent": request.latentSize.map { .integer($0) } ?? "auto",
      "seed": .integer(Int(truncatingIfNeeded: request.seed)),
      "calibration": .array(request.calibration.map { .string($0.lastPathComponent) }),
      "weights": .array(request.weights.map { .number($0) }),
      "protect": .array(request.protected.map { .string($0.lastPathComponent) }),
      "fit": .optional(request.fit?.lastPathComponent),
    ]
    switch request.balance {
    case .strength(let strength): options["strength"] = .number(strength)
    case .targetGini(let target): options["target_gini"] = .number(target)
    case .maxLossIncrease(let limit): options["max_loss_increase"] = .number(limit)
    case .maxOutputError(let limit): options["max_output_error"] = .number(limit)
    case .sweep(let strengths): options["strengths"] = .array(strengths.map { .number($0) })
    }
    return options
  }

  /// Held-out figures of a fit, for manifest and fit file.
  func figures(_ fit: ModelFit?) -> JSONValue {
    guard let fit else { return .null }
    return [
      "strength": .number(fit.strength),
      "layers": .array(fit.layers.map { $0.json(form) }),
      "held_out_gini": .optional(fit.heldOutGini(form)),
      "held_out": fit.point?.json ?? .null, "sets": .array(fit.sets.map(\.json)),
      "calibration_nll": fit.quality.map {
        ["original": .number($0.original.meanNLL), "patched": .number($0.patched.meanNLL)]
      } ?? .null,
    ]
  }
}

extension ModelFit.Layer {
  func json(_ form: RouterForm) -> JSONValue {
    func figures(_ figures: LayerFit.Figures?) -> JSONValue {
      guard let figures else { return .null }
      return [
        "gini": .optional(figures.metrics.gini), "min_max": .optional(figures.metrics.minOverMax),
        "overlap": .number(figures.agreement.overlap),
        "duplicate_rate": .number(figures.agreement.duplicateRate),
        "sampling_floor": .optional(figures.metrics.samplingFloor),
      ]
    }
    let evidence = fit.evidence(of: form)
    return [
      "index": .integer(fitted.index), "original": figures(fit.original),
      "calibration": figures(evidence?.calibration), "held_out": figures(evidence?.heldOut),
      "clones": .integer(fit.clones), "latent_size": .integer(fit.latentSize),
      "output_error": .optional(outputError), "kept_energy": .number(fit.keptEnergy), "feasible_gini": .number(fit.feasibleGini),
    ]
  }
}

extension Conversion.Result {
  /// The result as text for a terminal.
  public var text: String {
    var lines: [String] = []
    if let fit { lines += [table(fit).render(), ""] }
    if let fit, let overall = fit.overall, let point = fit.point {
      lines += [
        SetTable.table(fit.sets).render(), "",
        "Held-out tokens decide: the fit never saw the \(Format.count(overall.tokens)) of the last "
          + "table. On those of the calibration sets it reaches \(StrengthSearch.words(point)).",
      ]
    } else if let fit, plan.form == .lpr || fit.layers.contains(where: { $0.fit.stock != nil }) {
      lines.append(
        "Fitted figures are from a fit to 7/8 of the tokens, on the rest (sampling floor of the "
          + "Gini there: \(Format.number(samplingFloor(fit)))); the routers are then fitted to all "
          + "tokens. Judge them with regate validate on text of its own.")
    }
    if let quality = fit?.quality {
      let (before, after) = (quality.original.meanNLL, quality.patched.meanNLL)
      lines.append(
        "Mean NLL of the whole model on the calibration text itself: "
          + "\(Format.number(before, decimals: 4)) before, \(Format.number(after, decimals: 4)) "
          + "after (\(after >= before ? "+" : "")\(Format.number(after - before, decimals: 4))). "
          + "Judge it on other text with regate validate.")
    }
    if let written {
      lines.append(
        "Wrote \(written.files.count) files, \(Format.bytes(written.byteCount)) of weights; "
          + "verified: \(Format.count(written.identicalTensors)) tensors byte-identical, "
          + "\(Format.count(written.changedTensors)) routers and expert tensors as planned.")
    }
    lines.append("Took \(Format.duration(seconds)).")
    return lines.joined(separator: "\n")
  }

  private func samplingFloor(_ fit: ModelFit) -> Double? {
    fit.layers.compactMap { $0.fit.evidence(of: plan.form)?.heldOut?.metrics.samplingFloor }.max()
  }

  private func table(_ fit: ModelFit) -> TextTable {
    var table = TextTable([
      "layer", "Gini", "fitted", "min/max", "fitted", "overlap", "clones", "latent", "least Gini",
    ])
    for layer in fit.layers {
      let before = layer.fit.original.metrics
      let evidence = layer.fit.evidence(of: plan.form)
      let after = evidence?.heldOut ?? evidence?.calibration
      table.append([
        String(layer.fitted.index), Format.number(before.gini), Format.number(after?.metrics.gini),
        Format.number(before.minOverMax), Format.number(after?.metrics.minOverMax),
        Format.percent(after?.agreement.overlap), String(layer.fit.clones),
        String(layer.fit.latentSize), Format.number(layer.fit.feasibleGini),
      ])
    }
    return table
  }

  /// The result as one JSON object.
  public var json: JSONValue {
    [
      "plan": plan.json,
      "layers": fit.map { fit in .array(fit.layers.map { $0.json(plan.form) }) } ?? .null,
      "strength": fit.map { .number($0.strength) } ?? .null,
      "held_out_gini": fit.map { .optional($0.heldOutGini(plan.form)) } ?? .null,
      "held_out": fit?.point?.json ?? .null,
      "sets": fit.map { .array($0.sets.map(\.json)) } ?? .null,
      "calibration_nll": fit?.quality.map {
        ["original": .number($0.original.meanNLL), "patched": .number($0.patched.meanNLL)]
      } ?? .null,
      "written": written.map {
        [
          "files": .array($0.files.map { .string($0) }), "bytes": .integer($0.byteCount),
          "identical_tensors": .integer($0.identicalTensors),
          "changed_tensors": .integer($0.changedTensors),
        ]
      } ?? .null,
      "seconds": .number(seconds),
    ]
  }
}
