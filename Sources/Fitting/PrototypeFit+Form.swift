// SPDX-License-Identifier: Apache-2.0
//
// The router of the asked form that does what the original does, before any clone or bias.

import ByteStorage
import Routing
import Tensors

extension PrototypeFit {
  /// Overlap with the original's choice that the automatic latent size must reach, or come as
  /// near to as a full latent space does.
  static let wantedOverlap = 0.995
  private static let leastVariance = 0.9

  /// The start of any form but the linear one, which LatentBasis gives exactly.
  static func formedStart(
    _ set: CalibrationSet, basis: LatentBasis, options: FitOptions
  ) throws(RegateError) -> PrototypeRouter {
    let initialiser = try LatentInitialiser(
      set, basis: basis, form: options.form, threads: options.threads)
    let start =
      switch options.latent {
      case .automatic:
        try initialiser.smallest(
          overlap: wantedOverlap, atLeast: basis.size(keeping: leastVariance))
      case .size(let size):
        try initialiser.start(
          size: min(max(1, size), options.form.similarity.largestSize(experts: basis.fullSize)))
      }
    return start.router
  }

  /// `router` after gradient steps towards the original's routing to logical experts.
  static func refined(
    _ router: PrototypeRouter, _ set: CalibrationSet, options: FitOptions
  ) -> PrototypeRouter {
    guard options.refinementSteps > 0 else { return router }
    var settings = RouterRefinement.Options()
    settings.steps = options.refinementSteps
    settings.seed = options.seed
    settings.threads = options.threads
    return RouterRefinement(set, options: settings).refine(router).router
  }
}
