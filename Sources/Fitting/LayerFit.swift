// SPDX-License-Identifier: Apache-2.0

public import Routing
public import Tensors

/// The result of fitting one layer.
public struct LayerFit: Sendable {
  /// Balance and agreement of a routing on one set of tokens.
  public struct Figures: Sendable, Hashable, Codable {
    public let load: [Int]
    public let metrics: LoadMetrics
    public let agreement: RoutingAgreement
  }

  /// A router on the tokens it was fitted on and on the part held out from that fit.
  public struct Evidence: Sendable, Hashable, Codable {
    public let calibration: Figures
    /// Nil where the calibration set is too small to hold anything out.
    public let heldOut: Figures?
  }

  /// A linear gate, with a selection bias where the architecture has one, distilled from the
  /// prototype router.
  public struct Stock: Sendable {
    /// [E,H], already rounded to the dtype asked for.
    public let gate: Matrix
    /// [E], minimum 0; nil where the architecture has none.
    public let selectionBias: [Float]?
    public let evidence: Evidence
  }

  /// The router of the official LPR code: every slot has a key of its own, nothing acts on selection
  /// alone.
  public struct Official: Sendable {
    /// Slots are its functions; neither biases nor potentials.
    public let router: PrototypeRouter
    public let evidence: Evidence
    /// Agreement with the prototype router, on held-out tokens where some are held out.
    public let fidelity: RoutingAgreement
  }

  /// The function (named by its original slot) that each slot holds, [E].
  public let physicalToLogical: [Int]
  public let prototype: PrototypeRouter
  public let stock: Stock?
  public let official: Official?
  /// Nothing was asked for: the checkpoint's router and experts stay as they are.
  public let isUnchanged: Bool

  /// The checkpoint's own router on all tokens and on those held out.
  public let original: Evidence
  public let evidence: Evidence
  public let latentSize: Int
  /// Share of the logits' variance that the latent space keeps.
  public let explainedVariance: Double
  /// Slots that hold a copy of another slot's expert, each with the function it gave up.
  public let pruned: [Int]
  /// The lowest Gini that the slot map allows.
  public let feasibleGini: Double
  /// Where the time went.
  public let phases: PhaseClock

  /// Slots that hold a copy of another slot's expert.
  public var clones: Int { pruned.count }
}
