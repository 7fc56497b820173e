// SPDX-License-Identifier: Apache-2.0

package import Fitting
public import Routing

/// What a fit may change and how its routers are made.
public struct FitSettings: Sendable, Hashable {
  /// Copy hot experts over hardly used ones.
  public var clones: Bool
  /// R; nil: from the spectrum.
  public var latentSize: Int?
  /// Encoder and similarity of the prototype router.
  public var latentForm: LatentForm
  /// Gradient steps of the prototype router; nil: as many as help at the latent size.
  public var refinementSteps: Int?
  /// Seed of everything random; the same seed gives the same bytes.
  public var seed: UInt64
  /// Include the layers of multi-token prediction, which are left alone otherwise.
  public var mtp: Bool

  public init(
    clones: Bool = true, latentSize: Int? = nil, latentForm: LatentForm = .init(),
    refinementSteps: Int? = nil, seed: UInt64 = 0, mtp: Bool = false
  ) {
    self.clones = clones
    self.latentSize = latentSize
    self.latentForm = latentForm
    self.refinementSteps = refinementSteps
    self.seed = seed
    self.mtp = mtp
  }

  package var latent: FitOptions.Latent { latentSize.map { .size($0) } ?? .automatic }

  /// Gradient steps, if a fit is made.
  package var steps: Int { refinementSteps ?? FitOptions.defaultRefinement(at: latent) }
}
