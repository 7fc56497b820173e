// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
public import Forms
import Foundation
import Measures
import OrderedCollections
import Routing

extension ModelFit {
  /// The figures of the fit as one object, about the routers of `form`; those of the whole model
  /// are null where the fit was judged by another form.
  public func json(_ form: RouterForm) -> JSONValue {
    let judged = isJudged(by: form)
    let quality = judged ? quality?.json : nil
    return [
      "strength": .number(strength),
      "layers": .array(
        zip(layerIndices, figures).map { index, figures in
          figures.json(index: index, form, judged: judged)
        }),
      "unchanged_layers": .integers(unchangedLayers),
      "pruned": .object(
        OrderedDictionary(
          uniqueKeysWithValues: layers.filter(\.fitted.routers.isPruned).map {
            (String($0.fitted.index), .integers($0.fitted.routers.pruned))
          })),
      "held_out_gini": .optional(heldOutGini(form)),
      "judged_form": .string(origin.form.rawValue), "precision": .optional(origin.precision),
      "distinct_experts": [
        "batch": .integer(RoutingFigures.batchTokens),
        "before": .optional(distinctExperts(form).before),
        "after": .optional(distinctExperts(form).after),
      ],
      "rank_max_over_mean": rankImbalance(form).map { entries in
        .object(
          OrderedDictionary(
            uniqueKeysWithValues: entries.map {
              (
                String($0.ranks),
                ["before": .optional($0.before), "after": .optional($0.after)] as JSONValue
              )
            }))
      } ?? .null,
      "held_out": judged ? point?.json ?? .null : .null,
      "sets": judged ? .array(sets.map(\.json)) : .null,
      "calibration_nll": quality?["nll"] ?? .null,
      "calibration_perplexity": quality?["perplexity"] ?? .null,
      "calibration_kl": quality?["kl"] ?? .null,
      "calibration_top1_agreement": quality?["top1_agreement"] ?? .null,
    ]
  }
}

extension LayerFigures {
  func json(index: Int, _ form: RouterForm, judged: Bool) -> JSONValue {
    let evidence = evidence(of: form)
    return [
      "index": .integer(index), "original": .figures(original.fitted),
      "original_held_out": .figures(original.heldOut),
      "calibration": .figures(evidence?.fitted), "held_out": .figures(evidence?.heldOut),
      "gini_gain_standard_error": .optional(heldOutGain(form)?.error),
      "clones": .integer(clones), "latent_size": .integer(latentSize),
      "output_error": .optional(judged ? outputError : nil),
      "explained_variance": .number(explainedVariance),
      "feasible_gini": .number(feasibleGini),
      "rank_stages": .array(
        rankStages.map { ["means": .string($0.means), "max_over_mean": .number($0.imbalance)] }),
      "distillation": officialFidelity.map {
        [
          "overlap": .number($0.overlap), "kl": .number($0.divergence),
          "duplicate_rate": .number($0.duplicateRate),
          "latent_size": officialLatentSize.map { .integer($0) } ?? .null,
        ]
      } ?? .null,
    ]
  }
}

extension JSONValue {
  fileprivate static func figures(_ figures: RoutingFigures?) -> JSONValue {
    guard let figures else { return .null }
    return [
      "gini": .optional(figures.metrics.gini), "min_max": .optional(figures.metrics.minOverMax),
      "overlap": .number(figures.agreement.overlap),
      "duplicate_rate": .number(figures.agreement.duplicateRate),
      "kl": .number(figures.agreement.divergence),
      "sampling_floor": .optional(figures.metrics.samplingFloor),
      "distinct_experts": .optional(figures.distinctExperts),
    ]
  }
}

extension ModelFit.Quality {
  var json: JSONValue {
    [
      "nll": ["original": .number(original), "patched": .number(patched)],
      "perplexity": [
        "original": .optional(exp(original)), "patched": .optional(exp(patched)),
      ],
      "kl": .number(divergence), "top1_agreement": .number(topAgreement),
    ]
  }
}

extension FitOrigin {
  /// The options of the fit.
  package var json: JSONValue {
    var options: JSONValue = [
      "clones": .bool(clones), "mtp": .bool(mtp), "encoder": .string(encoder),
      "similarity": .string(similarity), "latent": latentSize.map { .integer($0) } ?? "auto",
      "refine": .integer(refinementSteps),
      // In digits where it is above what a JSON value holds as a number.
      "seed": Int(exactly: seed).map { .integer($0) } ?? .string(String(seed)),
      "calibration": .array(calibration.map { .string($0) }),
      "weights": .array(weights.map { .number($0) }),
      "protect": .array(protected.map { .string($0) }), "precision": .optional(precision),
    ]
    options[budget.field.name] = budget.field.value
    if let ranks = budget.ranks { options["ranks"] = .integers(ranks) }
    return options
  }
}
