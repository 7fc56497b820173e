// SPDX-License-Identifier: Apache-2.0

package import Routing
package import Tensors

/// The result of fitting one layer: its new routers, which nobody has judged yet.
package struct LayerFit: Sendable {
  /// A linear gate, with the biases that the architecture has, distilled from the prototype router.
  package struct Stock: Sendable {
    /// [E,H], already rounded to the dtype asked for; a row for each physical expert.
    package var gate: Matrix
    /// [E], rounded like the gate; nil where the architecture has none.
    package var logitBias: [Float]?
    /// [E], minimum 0; nil where the architecture has none.
    package var selectionBias: [Float]?
  }

  package let prototype: PrototypeRouter
  package let stock: Stock?
  /// The router of the official LPR code: every physical expert has a key of its own, nothing acts
  /// on selection alone.
  package let official: PrototypeRouter?
  /// The checkpoint's router and experts stay as they are: nothing was asked for, or there is no
  /// balance to gain.
  package let isUnchanged: Bool
  /// Share of the logits' variance that the latent space keeps.
  package let explainedVariance: Double
  /// Physical experts that hold a copy of another one, whose own logical expert was pruned.
  package let clones: [Int]
  /// How the ranks became even, where that was asked for.
  package let stages: [RankStage]
  /// Where the time went.
  package let phases: PhaseClock

  /// The lowest Gini that the clones allow.
  package var feasibleGini: Double {
    ClonePlan.feasibleGini(
      physicalToLogical: prototype.physicalToLogical, topK: prototype.rule.topK)
  }
}
