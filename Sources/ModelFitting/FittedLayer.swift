// SPDX-License-Identifier: Apache-2.0

import Fitting
public import Forms
public import Measures
public import Routing
package import Tensors

/// The fitted routers of one layer, in every form that was fitted.
package struct FittedLayer: Sendable {
  package let index: Int
  /// Sketch of the original gate.
  package let sketch: Matrix
  package let routers: FittedRouters
  /// Nothing was asked for: not a byte of the layer changes, whatever the form.
  package let isUnchanged: Bool

  package init(index: Int, sketch: Matrix, routers: FittedRouters, isUnchanged: Bool) {
    self.index = index
    self.sketch = sketch
    self.routers = routers
    self.isUnchanged = isUnchanged
  }
}

/// What is known of a layer's fit beside the routers themselves.
public struct LayerFigures: Sendable, Hashable, Codable {
  /// A router on the tokens that it was fitted to, and on those that no fit saw.
  public struct Evidence: Sendable, Hashable, Codable {
    /// On the tokens that it was fitted to.
    public let fitted: RoutingFigures
    /// nil where nothing is held out.
    public let heldOut: RoutingFigures?

    private enum CodingKeys: String, CodingKey {
      case fitted
      case heldOut = "held_out"
    }

    /// The figures that say more: held-out ones where there are any.
    public var best: RoutingFigures { heldOut ?? fitted }

    package init(fitted: RoutingFigures, heldOut: RoutingFigures?) {
      self.fitted = fitted
      self.heldOut = heldOut
    }
  }

  /// The checkpoint's own router.
  public let original: Evidence
  /// The prototype router.
  public let prototype: Evidence
  /// nil where the form was not fitted.
  public let stock: Evidence?
  /// The router of the official LPR code; nil where it was not fitted.
  public let official: Evidence?
  /// Agreement of the official with the prototype router, on held-out tokens where there are any.
  public let officialFidelity: RoutingAgreement?
  /// Physical experts that hold a copy of another one.
  public let clones: Int
  /// R, the latent size of the prototype router.
  public let latentSize: Int
  /// Latent size of the official form.
  public let officialLatentSize: Int?
  /// Share of the logits' variance that the latent space keeps.
  public let explainedVariance: Double
  /// The lowest Gini that the clones allow.
  public let feasibleGini: Double
  /// Relative error of the routed experts' output, on held-out tokens where some are held out;
  /// nil where it is not known.
  public let outputError: Double?
  /// The held-out tokens, all calibration sets together and then each set; empty where there are
  /// none.
  public let sets: [SetLoad]
  /// How the ranks became even, in the order in which it was tried; empty where experts were to.
  public let rankStages: [RankStage]

  /// One means, and how even the ranks were with it in half-samples of the fitted tokens.
  public struct RankStage: Sendable, Hashable, Codable {
    /// As in reports: as is, renumbered, with clones, with selection biases, or all experts even.
    public let means: String
    /// Max/mean load over ranks, of the rank count where it is largest.
    public let imbalance: Double
  }

  /// How much lower the Gini is on held-out tokens under a form's router than before, and the
  /// standard error of that, by the loads alone; nil where nothing is held out.
  package func heldOutGain(_ form: RouterForm) -> (gini: Double, error: Double)? {
    guard let before = original.heldOut?.load, let after = evidence(of: form)?.heldOut?.load,
      let first = LoadMetrics.gini(before.map(Double.init)),
      let second = LoadMetrics.gini(after.map(Double.init)),
      let variances = LoadMetrics.giniVariance(before).flatMap({ own in
        LoadMetrics.giniVariance(after).map { own + $0 }
      })
    else { return nil }
    return (first - second, variances.squareRoot())
  }

  /// Names of a file's format, which those of the properties may not change.
  private enum CodingKeys: String, CodingKey {
    case original, prototype, stock, official, clones, sets
    case officialFidelity = "distillation"
    case latentSize = "latent_size"
    case officialLatentSize = "official_latent_size"
    case explainedVariance = "explained_variance"
    case feasibleGini = "feasible_gini"
    case rankStages = "rank_stages"
    case outputError = "output_error"
  }

  package init(
    original: Evidence, prototype: Evidence, stock: Evidence?, official: Evidence?,
    officialFidelity: RoutingAgreement?, clones: Int, latentSize: Int, officialLatentSize: Int?,
    explainedVariance: Double, feasibleGini: Double, outputError: Double?, sets: [SetLoad],
    rankStages: [RankStage] = []
  ) {
    self.original = original
    self.prototype = prototype
    self.stock = stock
    self.official = official
    self.officialFidelity = officialFidelity
    self.clones = clones
    self.latentSize = latentSize
    self.officialLatentSize = officialLatentSize
    self.explainedVariance = explainedVariance
    self.feasibleGini = feasibleGini
    self.outputError = outputError
    self.sets = sets
    self.rankStages = rankStages
  }

  /// The figures of one form's router.
  public func evidence(of form: RouterForm) -> Evidence? {
    switch form {
    case .lpr: prototype
    case .stock: stock
    case .lprOfficial: official
    }
  }
}

extension LayerFigures.RankStage {
  /// What a search tried.
  init(_ stage: Fitting.RankStage) {
    means =
      switch stage.means {
      case .asIs: "as is"
      case .renumbering: "renumbered"
      case .clones(let count): "\(count) clones, renumbered"
      case .biases(let strength, 0): "selection biases at \(strength), renumbered"
      case .biases(let strength, let count):
        "\(count) clones and selection biases at \(strength), renumbered"
      case .evenExperts: "all experts even, renumbered"
      }
    imbalance = stage.imbalance
  }
}
