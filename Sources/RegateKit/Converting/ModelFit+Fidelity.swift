// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Fitting
import OrderedCollections
import Reports
import Routing

/// How near the router of the official LPR code comes to the prototype one that it stands for.
extension ModelFit {
  /// One line per layer, on held-out tokens where some are held out; nil for other forms.
  var fidelityTable: TextTable? {
    var table = TextTable([
      "layer", "prototype Gini", "official", "same experts", "weights' KL", "output error",
    ])
    for layer in layers {
      guard let fidelity = layer.fit.officialFidelity else { return nil }
      let (prototype, official) = (layer.fit.prototype, layer.fit.official)
      table.append([
        String(layer.fitted.index),
        Format.number((prototype.heldOut ?? prototype.calibration).metrics.gini),
        Format.number((official?.heldOut ?? official?.calibration)?.metrics.gini),
        Format.percent(fidelity.overlap), Format.number(fidelity.divergence),
        Format.number(layer.fit.outputError),
      ])
    }
    return table
  }

  /// What the table is about, and what the form cannot hold.
  static let fidelityNote =
    "Prototype router against the official one distilled from it: share of the chosen experts that "
    + "both choose, KL of their weights in nats, and the official router's output error against the "
    + "original. Its scores are selection and weights in one: what the prototype router's potentials "
    + "and cells of clones did to the selection alone is folded into them as far as that goes."
}

extension ModelFit.Layer {
  /// The distillation in JSON; null for other forms.
  var fidelity: JSONValue {
    fit.officialFidelity.map {
      [
        "overlap": .number($0.overlap), "kl": .number($0.divergence),
        "duplicate_rate": .number($0.duplicateRate),
        "latent_size": fitted.official.map { .integer($0.latentSize) } ?? .null,
      ]
    } ?? .null
  }
}
