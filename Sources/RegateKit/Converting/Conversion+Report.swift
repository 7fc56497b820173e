// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
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
      "container": .string(model.layout.container.rawValue), "options": options(patches),
      "figures": figures(fit),
      "layers": .array(
        patches.map { patch in
          [
            "index": .integer(patch.layer.index),
            "physical_to_logical": .array(patch.physicalToLogical.map { .integer($0) }),
            "placement": request.places ? .array(patch.placement.map { .integer($0) }) : .null,
          ]
        }),
    ]
  }

  private func options(_ patches: [LayerPatch]) -> JSONValue {
    // A fit file has a form of its own.
    let forms = patches.lazy.compactMap { patch -> PrototypeRouter.LatentForm? in
      switch patch.router {
      case .prototype(let router), .official(let router): router.form
      case .stock, .renumbered: nil
      }
    }
    let form = forms.first ?? request.latentForm
    var options: JSONValue = [
      "levers": .array(request.levers.map { .string($0) }), "mtp": .bool(request.mtp),
      "encoder": .string(form.encoder.rawValue),
      "similarity": .string(form.similarity.rawValue),
      "latent": request.latentSize.map { .integer($0) } ?? "auto",
      "refine": request.fit == nil ? .integer(request.steps) : .null,
      "seed": .integer(Int(truncatingIfNeeded: request.seed)),
      "calibration": .array(request.calibration.map { .string($0.lastPathComponent) }),
      "weights": .array(request.weights.map { .number($0) }),
      "protect": .array(request.protected.map { .string($0.lastPathComponent) }),
      "fit": .optional(request.fit?.lastPathComponent),
    ]
    if request.places {
      options["ranks"] = .array(request.ranks.map { .integer($0) })
      if let imatrix = request.imatrix { options["imatrix"] = .string(imatrix.lastPathComponent) }
    }
    guard request.routes else { return options }
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
      "calibration_nll": fit.quality?.json["nll"] ?? .null,
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
        "kl": .number(figures.agreement.divergence),
        "sampling_floor": .optional(figures.metrics.samplingFloor),
      ]
    }
    let evidence = fit.evidence(of: form)
    return [
      "index": .integer(fitted.index), "original": figures(fit.original.calibration),
      "original_held_out": figures(fit.original.heldOut),
      "calibration": figures(evidence?.calibration), "held_out": figures(evidence?.heldOut),
      "clones": .integer(fit.clones), "latent_size": .integer(fit.latentSize),
      "output_error": .optional(fit.outputError), "explained_variance": .number(fit.explainedVariance),
      "feasible_gini": .number(fit.feasibleGini), "distillation": fidelity,
    ]
  }
}

extension Conversion.Result {
  /// The result as text for a terminal.
  public var text: String {
    var lines: [String] = []
    if let fit { lines += [table(fit).render(), ""] }
    if let table = fit?.fidelityTable { lines += [table.render(), "", ModelFit.fidelityNote] }
    if let fit, let overall = fit.overall, let point = fit.point {
      lines += [
        SetTable.table(fit.sets).render(), "",
        "Held-out tokens decide: the fit never saw the \(Format.count(overall.tokens)) of the last "
          + "table. On those of the calibration sets it reaches \(StrengthSearch.words(point)).",
      ]
    } else if let fit, plan.form.replacesGate || fit.layers.contains(where: { $0.fit.stock != nil })
    {
      lines.append(
        "These figures are from a fit to 7/8 of the tokens, on the rest (sampling floor of the "
          + "Gini there: \(Format.number(samplingFloor(fit)))); the routers are then fitted to all "
          + "tokens. Judge them with regate validate on text of its own.")
      lines += evenLayers(fit)
    }
    if let quality = fit?.quality {
      let (before, after) = (quality.original, quality.patched)
      lines.append(
        "Mean NLL of the whole model on the calibration text itself: "
          + "\(Format.number(before, decimals: 4)) before, \(Format.number(after, decimals: 4)) "
          + "after (\(after >= before ? "+" : "")\(Format.number(after - before, decimals: 4))). "
          + "Judge it on other text with regate validate.")
    }
    if let placement { lines += [Conversion.Result.table(placement).render(), ""] }
    lines += sinkLines
    lines += plan.leftAlone.map(\.notice)
    if let written {
      lines.append(
        "Wrote \(written.files.count) files, \(Format.bytes(written.byteCount)) of weights; "
          + "verified: \(Format.count(written.identicalTensors)) tensors byte-identical, "
          + "\(Format.count(written.changedTensors)) routers and expert tensors as planned.")
      let ways = OutputFile.Method.allCases.compactMap { way in
        written.methods[way].map { "\($0) \(way.rawValue)" }
      }
      lines.append("Files: \(ways.joined(separator: ", ")).")
    }
    lines.append("Took \(Format.duration(seconds)).")
    return lines.joined(separator: "\n")
  }

  /// What was written beside an output.
  private var sinkLines: [String] {
    var lines: [String] = []
    if let deltaBytes { lines.append("Wrote a delta of \(Format.bytes(deltaBytes)).") }
    if let inPlace {
      lines.append(
        "Changed \(Format.bytes(inPlace.byteCount)) in place in \(inPlace.files.count) files; "
          + "\(inPlace.undo) (\(Format.bytes(inPlace.undoBytes))) takes it back (regate revert).")
    }
    if let lora {
      lines.append(
        "Wrote a LoRA adapter of rank \(lora.rank), \(Format.bytes(lora.byteCount)); it changes "
          + "routers only. Largest relative error of a gate's difference: "
          + "\(Format.number(lora.largestError, decimals: 6)).")
    }
    if let locations {
      lines.append(
        "Wrote \(locations.path) for \(locations.ranks) ranks with \(locations.redundant) redundant "
          + "experts: max/mean rank load \(Format.number(locations.before)) in order, "
          + "\(Format.number(locations.after)) by the plan (mean of layers).")
    }
    return lines
  }

  private static func table(_ placement: ModelPlacement) -> TextTable {
    var table = TextTable(["ranks", "max/mean load", "renumbered"])
    for entry in placement.imbalance {
      table.append([
        String(entry.ranks), Format.number(entry.before), Format.number(entry.after),
      ])
    }
    return table
  }

  /// Names the layers where the held-out tokens show nothing gained.
  private func evenLayers(_ fit: ModelFit) -> [String] {
    let layers = fit.layers.filter { layer in
      guard let before = layer.fit.original.heldOut?.metrics.gini,
        let after = layer.fit.evidence(of: plan.form)?.heldOut?.metrics.gini
      else { return false }
      return before <= after
    }
    guard !layers.isEmpty, fit.strength > 0 else { return [] }
    let names = layers.map { String($0.fitted.index) }.joined(separator: ", ")
    return [
      "Layers \(names): on the held-out tokens the original is as balanced as the fit. Where a load is "
        + "even already, a new router costs quality and gains nothing; a larger calibration set shows "
        + "whether that is so."
    ]
  }

  private func samplingFloor(_ fit: ModelFit) -> Double? {
    fit.layers.compactMap { $0.fit.evidence(of: plan.form)?.heldOut?.metrics.samplingFloor }.max()
  }

  private func table(_ fit: ModelFit) -> TextTable {
    var table = TextTable([
      "layer", "Gini", "fitted", "min/max", "fitted", "overlap", "clones", "latent", "least Gini",
    ])
    for layer in fit.layers {
      let evidence = layer.fit.evidence(of: plan.form)
      let isHeldOut = evidence?.heldOut != nil
      let after = isHeldOut ? evidence?.heldOut : evidence?.calibration
      let original = layer.fit.original
      let before = (isHeldOut ? original.heldOut : original.calibration)?.metrics
      table.append([
        String(layer.fitted.index), Format.number(before?.gini), Format.number(after?.metrics.gini),
        Format.number(before?.minOverMax), Format.number(after?.metrics.minOverMax),
        Format.percent(after?.agreement.overlap), String(layer.fit.clones),
        String(layer.fitted.official?.latentSize ?? layer.fit.latentSize),
        Format.number(layer.fit.feasibleGini),
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
      "calibration_nll": fit?.quality?.json["nll"] ?? .null,
      "calibration_perplexity": fit?.quality?.json["perplexity"] ?? .null,
      "calibration_kl": fit?.quality?.json["kl"] ?? .null,
      "calibration_top1_agreement": fit?.quality?.json["top1_agreement"] ?? .null,
      "written": written.map {
        [
          "files": .array($0.files.map { .string($0) }), "bytes": .integer($0.byteCount),
          "identical_tensors": .integer($0.identicalTensors),
          "changed_tensors": .integer($0.changedTensors),
          "methods": .object(
            OrderedDictionary(
              uniqueKeysWithValues: zip(
                OutputFile.Method.allCases.map(\.rawValue), $0.counts.map { .integer($0) }))),
        ]
      } ?? .null,
      "placement": placement.map(\.json) ?? .null,
      "delta_bytes": deltaBytes.map { .integer($0) } ?? .null,
      "in_place": inPlace.map {
        [
          "bytes": .integer($0.byteCount), "undo": .string($0.undo),
          "undo_bytes": .integer($0.undoBytes),
        ]
      } ?? .null,
      "lora": lora.map {
        [
          "rank": .integer($0.rank), "bytes": .integer($0.byteCount),
          "largest_error": .number($0.largestError),
        ]
      } ?? .null,
      "expert_locations": locations.map(\.json) ?? .null,
      "seconds": .number(seconds),
      "fit_seconds": fit.map { fit in
        .object(
          OrderedDictionary(
            uniqueKeysWithValues: fit.phases.seconds.map {
              ($0.key.replacing(" ", with: "_"), .number($0.value))
            }))
      } ?? .null,
    ]
  }
}
