// SPDX-License-Identifier: Apache-2.0

package import Routing
package import Tensors

/// What a fit may change and how far it goes.
package struct FitOptions: Sendable, Hashable {
  /// How many latent dimensions the prototype router gets.
  package enum Latent: Sendable, Hashable {
    /// The fewest that keep the original routing almost exactly.
    case automatic
    case size(Int)
  }

  /// What the stock form of the architecture can hold, and how its runtime computes.
  package struct Stock: Sendable, Hashable {
    /// The architecture has a bias that acts on selection only.
    package var hasSelectionBias: Bool
    /// What the gate is stored in: it is measured as rounded to that.
    package var gateType: ElementType
    /// The same for the bias on the logits, where there is one.
    package var logitBiasType = ElementType.f32
    /// The selection bias is stored in BF16 and must stay so.
    package var roundsBiasToBF16 = false

    package init(hasSelectionBias: Bool, gateType: ElementType) {
      self.hasSelectionBias = hasSelectionBias
      self.gateType = gateType
    }
  }

  /// The router of the official LPR code, distilled from the stock form.
  package struct Official: Sendable, Hashable {
    /// `.automatic`: E + 1, which can follow any linear gate.
    package var latent: Latent
    package var refinementSteps: Int

    package init(latent: Latent, refinementSteps: Int) {
      self.latent = latent
      self.refinementSteps = refinementSteps
    }
  }

  /// Gradient steps if nothing else is asked for: none where the latent size is chosen so that the
  /// start already routes as the original does, which leaves them nothing to gain.
  package static func defaultRefinement(at latent: Latent) -> Int { latent == .automatic ? 0 : 400 }

  /// Hot experts are copied over experts that this traffic hardly uses, for a strength above 0.
  package var clones: Bool
  /// s in -1...1: every physical expert's target is (1-s) x its natural load + s x uniform.
  package var strength: Double
  /// Even ranks instead of even experts; `strength` is then 1.
  package var ranks: RankBalance?
  /// E|h|² of the residual stream that the layer's output is added to, where it is known: balance
  /// is then bought where it is cheap (BalanceCost.swift).
  package var residualSquare: Double?
  /// Experts to prune, in place of all balance; nil: none.
  package var pruned: Int?
  package var latent: Latent
  /// Encoder and similarity of the prototype router.
  package var form: LatentForm
  /// Gradient steps towards the original's routing to logical experts.
  package var refinementSteps: Int
  /// The stock form to distil, if one is asked for.
  package var stock: Stock?
  /// The official form to distil, if it is asked for; needs `stock`.
  package var official: Official?
  /// Other traffic whose experts must stay.
  package var protected: [ProtectedLoad]
  package var seed: UInt64
  package var threads: Int

  /// Whether a layer without balance to gain stays as it is. Even ranks are judged by ranks; an
  /// encoder and a similarity that were asked for are those of all layers.
  var leavesEvenLayers: Bool { ranks == nil && form.isLinear && strength > 0 }

  package init(
    clones: Bool = true, strength: Double = 1, ranks: RankBalance? = nil,
    pruned: Int? = nil, latent: Latent = .automatic,
    form: LatentForm = .init(), refinementSteps: Int? = nil, stock: Stock? = nil,
    protected: [ProtectedLoad] = [], seed: UInt64 = 0, threads: Int = 1
  ) {
    precondition((-1...1).contains(strength) && threads > 0)
    self.clones = clones
    self.strength = strength
    self.ranks = ranks
    self.pruned = pruned
    self.latent = latent
    self.form = form
    self.refinementSteps = refinementSteps ?? Self.defaultRefinement(at: latent)
    self.stock = stock
    self.protected = protected
    self.seed = seed
    self.threads = threads
  }
}
