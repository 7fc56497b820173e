// SPDX-License-Identifier: Apache-2.0

public import Routing

/// What a fit may change and how far it goes.
public struct FitOptions: Sendable, Hashable {
  /// The levers that act inside a layer's routing.
  public struct Levers: OptionSet, Sendable, Hashable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    /// Hot functions take the slots of functions that this traffic hardly uses.
    public static let clone = Levers(rawValue: 1)
    /// Selection is shifted by balance potentials.
    public static let route = Levers(rawValue: 2)
  }

  /// How many latent dimensions the prototype router gets.
  public enum Latent: Sendable, Hashable {
    /// The fewest that keep the original routing almost exactly.
    case automatic
    case size(Int)
  }

  /// What the stock form of the architecture can hold, and how its runtime computes.
  public struct Stock: Sendable, Hashable {
    /// The architecture has a bias that acts on selection only.
    public var hasSelectionBias: Bool
    /// The gate is stored in BF16: it is fitted and measured rounded.
    public var roundsGateToBF16: Bool
    /// The selection bias is stored in BF16 and must stay so.
    public var roundsBiasToBF16 = false

    public init(hasSelectionBias: Bool, roundsGateToBF16: Bool) {
      self.hasSelectionBias = hasSelectionBias
      self.roundsGateToBF16 = roundsGateToBF16
    }
  }

  /// The router of the official LPR code, distilled from the stock form.
  public struct Official: Sendable, Hashable {
    /// `.automatic`: E + 1, which can follow any linear gate.
    public var latent: Latent
    public var refinementSteps: Int

    public init(latent: Latent, refinementSteps: Int) {
      self.latent = latent
      self.refinementSteps = refinementSteps
    }
  }

  /// Gradient steps if nothing else is asked for: none where the latent size is chosen so that the
  /// start already routes as the original does, which leaves them nothing to gain.
  public static func defaultRefinement(at latent: Latent) -> Int { latent == .automatic ? 0 : 400 }

  public var levers: Levers
  /// s in 0...1: every slot's target is (1-s) x its natural load + s x uniform.
  public var strength: Double
  public var latent: Latent
  /// Encoder and similarity of the prototype router.
  public var form: PrototypeRouter.LatentForm
  /// Gradient steps towards the original's function-level routing.
  public var refinementSteps: Int
  /// The stock form to distil, if one is asked for.
  public var stock: Stock?
  /// The official form to distil, if it is asked for; needs `stock`.
  public var official: Official?
  /// Other traffic whose functions must stay.
  public var demands: [ProtectedLoad]
  public var seed: UInt64
  public var threads: Int

  public init(
    levers: Levers = [.clone, .route], strength: Double = 1, latent: Latent = .automatic,
    form: PrototypeRouter.LatentForm = .init(), refinementSteps: Int? = nil, stock: Stock? = nil,
    demands: [ProtectedLoad] = [], seed: UInt64 = 0, threads: Int = 1
  ) {
    precondition((0...1).contains(strength) && threads > 0)
    self.levers = levers
    self.strength = strength
    self.latent = latent
    self.form = form
    self.refinementSteps = refinementSteps ?? Self.defaultRefinement(at: latent)
    self.stock = stock
    self.demands = demands
    self.seed = seed
    self.threads = threads
  }
}
