// SPDX-License-Identifier: Apache-2.0

package import Fitting
public import Forms
package import Inference
public import Measures
import Routing

/// The new routers of a whole model, and what is known of them: a value that can be kept, written
/// and used for any copy of the model.
public struct ModelFit: Sendable {
  /// One MoE layer with the evidence for it.
  package struct Layer: Sendable {
    package let fitted: FittedLayer
    package let figures: LayerFigures

    package init(fitted: FittedLayer, figures: LayerFigures) {
      self.fitted = fitted
      self.figures = figures
    }
  }

  /// Next-token figures of the whole model on the calibration tokens: mean negative log-likelihoods
  /// and mean KL divergence, in nats.
  public struct Quality: Sendable, Hashable, Codable {
    /// Mean NLL of the original.
    public let original: Double
    /// Mean NLL with the new routers.
    public let patched: Double
    /// Mean KL divergence.
    public let divergence: Double
    /// Share of positions with the same most likely token.
    public let topAgreement: Double

    private enum CodingKeys: String, CodingKey {
      case original = "original_nll"
      case patched = "patched_nll"
      case divergence = "kl"
      case topAgreement = "top1_agreement"
    }

    package init(original: StreamScores, patched: StreamScores) {
      self.original = original.meanNLL
      self.patched = patched.meanNLL
      divergence = patched.meanDivergence
      topAgreement = patched.topAgreement
    }
  }

  package let layers: [Layer]
  /// The family of the model that was fitted.
  public let family: String
  /// What it is a part of; nil for a fit of all layers.
  package var part: FitPart?
  /// How the fit came to be.
  public let origin: FitOrigin
  /// nil where the fit was made from captures.
  public let quality: Quality?
  /// All held-out tokens of the calibration sets; nil where none were held out.
  public let overall: SetMeasure?
  /// Each set's held-out tokens; empty where none were held out.
  public let sets: [SetMeasure]
  /// Where the time of the layers fitted in this run went, all strengths together, by phase.
  package let phases: PhaseClock

  /// The strength that was taken.
  public var strength: Double { origin.strength }

  /// The numbers of the fitted layers.
  public var layerIndices: [Int] { layers.map(\.fitted.index) }

  /// The numbers of those layers that stay as they are: nothing was asked for, or they had no
  /// balance to gain.
  public var unchangedLayers: [Int] {
    layers.filter(\.fitted.isUnchanged).map(\.fitted.index)
  }

  /// The figures of each fitted layer, in the order of `layerIndices`.
  public var figures: [LayerFigures] { layers.map(\.figures) }

  /// The forms that every layer has.
  public var forms: [RouterForm] {
    RouterForm.allCases.filter { form in
      layers.allSatisfy { $0.fitted.routers.forms.contains(form) || $0.fitted.isUnchanged }
    }
  }

  /// Mean over layers of the Gini of a form's router on held-out tokens; nil where there are none.
  public func heldOutGini(_ form: RouterForm) -> Double? {
    LayerStatistics(
      figures.map { $0.evidence(of: form)?.heldOut?.metrics.gini }, largestIsWorst: true
    ).mean
  }

  /// Max/mean load over ranks, mean over layers, on held-out tokens where there are any: before and
  /// under a form's router, for each rank count that was to be even; nil where experts were.
  public func rankImbalance(
    _ form: RouterForm
  ) -> [(ranks: Int, before: Double?, after: Double?)]? {
    origin.budget.ranks.map { counts in
      counts.map { count in
        func mean(_ figures: (LayerFigures) -> LayerFigures.Evidence?) -> Double? {
          LayerStatistics(
            self.figures.map { layer in
              figures(layer).flatMap { evidence in
                LoadMetrics.rankImbalance(
                  load: evidence.best.load, ranks: min(count, evidence.best.load.count))
              }
            }, largestIsWorst: true
          ).mean
        }
        return (count, mean { $0.original }, mean { $0.evidence(of: form) })
      }
    }
  }

  /// Distinct experts that `RoutingFigures.batchTokens` consecutive tokens use, mean over layers,
  /// on held-out tokens where there are any: before and under a form's router.
  public func distinctExperts(_ form: RouterForm) -> (before: Double?, after: Double?) {
    func mean(_ evidence: (LayerFigures) -> LayerFigures.Evidence?) -> Double? {
      LayerStatistics(
        figures.map { evidence($0)?.best.distinctExperts }, largestIsWorst: true
      ).mean
    }
    return (mean { $0.original }, mean { $0.evidence(of: form) })
  }

  /// Whether the figures of the whole model are about the routers of `form`: the budget, the sets
  /// and the patched stream know one form, `origin.form`.
  package func isJudged(by form: RouterForm) -> Bool { origin.form == form }

  /// The fit on the curve of balance against quality; nil where nothing was held out.
  public var point: BalancePoint? {
    overall.map {
      BalancePoint(
        strength: strength, gini: $0.gini.patched, minOverMax: $0.minOverMax.patched,
        lossIncrease: $0.likelihood?.increase, outputError: $0.outputError)
    }
  }

  /// The same before the fit: strength 0.
  public var originPoint: BalancePoint? {
    overall.map {
      BalancePoint(
        strength: 0, gini: $0.gini.original, minOverMax: $0.minOverMax.original,
        lossIncrease: $0.likelihood.map { _ in 0 }, outputError: $0.outputError.map { _ in 0 })
    }
  }
}

/// How a fit came to be: what it was asked for, and the strength that was taken.
public struct FitOrigin: Sendable, Hashable, Codable {
  /// A set of tokens that judged the fit.
  public struct JudgingSet: Sendable, Hashable, Codable {
    /// File name; `all calibration sets` for the first.
    public let name: String
    /// What the set is for.
    public let role: SetRole
    /// Its share among the calibration sets; nil for others.
    public let share: Double?
    /// Held-out tokens.
    public let tokens: Int
    /// nil for captures.
    public let likelihood: SetMeasure.Likelihood?

    private enum CodingKeys: String, CodingKey { case name, role, share, tokens, likelihood }

    package init(
      name: String, role: SetRole, share: Double?, tokens: Int, likelihood: SetMeasure.Likelihood?
    ) {
      self.name = name
      self.role = role
      self.share = share
      self.tokens = tokens
      self.likelihood = likelihood
    }
  }

  /// The release of Regate.
  public let version: String
  /// The strength that was taken: 0 changes nothing, 1 asks for uniform load.
  public let strength: Double
  /// What was asked for.
  public let budget: Budget
  /// The form that the budget and the patched stream are about.
  public let form: RouterForm
  /// Whether hot experts might be copied over hardly used ones.
  public let clones: Bool
  /// Encoder of the prototype router, by its name in checkpoints.
  public let encoder: String
  /// Similarity of the prototype router, by its name in checkpoints.
  public let similarity: String
  /// nil: from the spectrum.
  public let latentSize: Int?
  /// Gradient steps of the prototype router.
  public let refinementSteps: Int
  /// Seed of everything random.
  public let seed: UInt64
  /// Whether layers of multi-token prediction are included.
  public let mtp: Bool
  /// File names.
  public let calibration: [String]
  /// Shares of `calibration`, as they were given; empty for one set.
  public let weights: [Double]
  /// File names of traffic whose experts were not to be pruned.
  public let protected: [String]
  /// All tokens, held-out ones included.
  public let tokens: Int
  /// What the model is, or was, run in: float32, bfloat16, int8; nil where captures do not say.
  public let precision: String?
  /// The held-out tokens of all calibration sets, then of each set; empty without.
  public let judgingSets: [JudgingSet]
  /// Of the whole model; nil for captures.
  public let quality: ModelFit.Quality?
  /// The weights that were fitted; nil in fits of earlier versions.
  package let checkpoint: WeightsIdentity?

  private enum CodingKeys: String, CodingKey {
    case version, strength, budget, clones, encoder, similarity, seed, mtp, calibration, weights
    case protected, tokens, precision, quality, checkpoint
    case form = "judged_form"
    case latentSize = "latent_size"
    case refinementSteps = "refinement_steps"
    case judgingSets = "judging_sets"
  }

  package init(
    version: String, strength: Double, budget: Budget, form: RouterForm, clones: Bool,
    encoder: String, similarity: String, latentSize: Int?, refinementSteps: Int, seed: UInt64,
    mtp: Bool, calibration: [String], weights: [Double], protected: [String], tokens: Int,
    precision: String?, judgingSets: [JudgingSet], quality: ModelFit.Quality?,
    checkpoint: WeightsIdentity
  ) {
    self.version = version
    self.strength = strength
    self.budget = budget
    self.form = form
    self.clones = clones
    self.encoder = encoder
    self.similarity = similarity
    self.latentSize = latentSize
    self.refinementSteps = refinementSteps
    self.seed = seed
    self.mtp = mtp
    self.calibration = calibration
    self.weights = weights
    self.protected = protected
    self.tokens = tokens
    self.precision = precision
    self.judgingSets = judgingSets
    self.quality = quality
    self.checkpoint = checkpoint
  }
}

extension ModelFit {
  /// A fit of `layers`: what the held-out tokens say follows from them and `origin`.
  package init(_ layers: [Layer], family: String, origin: FitOrigin, phases: PhaseClock) {
    self.layers = layers
    self.family = family
    self.origin = origin
    self.phases = phases
    quality = origin.quality
    let measures = origin.judgingSets.enumerated().map { place, set in
      SetMeasure(
        name: set.name, role: set.role, share: set.share, tokens: set.tokens,
        loads: layers.map { $0.figures.sets[place] }, likelihood: set.likelihood)
    }
    overall = measures.first
    sets = Array(measures.dropFirst())
  }
}
