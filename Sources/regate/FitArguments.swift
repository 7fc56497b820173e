// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import RegateKit
import Routing

/// Options on what is fitted and to what.
struct FitArguments: ParsableArguments {
  @Option(
    name: .customLong("calibration"),
    help: ArgumentHelp(
      "Text (.txt, .jsonl, .gz), token ids (.npy, .npz, .safetensors) or captured activations to "
        + "fit to. Repeatable; taken as one set unless --weights is given.", valueName: "file"))
  var calibration: [String] = []

  @Option(
    help: ArgumentHelp(
      "One weight for each --calibration, in their order: each file is a set of its own with that "
        + "share of the traffic.", valueName: "w,..."))
  var weights: Weights?

  @Option(
    name: .customLong("protect"),
    help: ArgumentHelp(
      "Traffic that is not balanced, but whose experts are never given up. Repeatable.",
      valueName: "file"))
  var protected: [String] = []

  @Option(
    help: ArgumentHelp(
      "Form of the router: lpr (prototype; default for safetensors), stock (the architecture's own; "
        + "for GGUF), or lpr-official (that of the official LPR code; Mixtral and Qwen3-MoE)."))
  var router: RouterForm?

  @Option(
    help: ArgumentHelp(
      "What may change: place (the experts' numbers, so that expert-parallel ranks carry equal "
        + "load), clone (copy hot experts over unused ones), route (the router).",
      valueName: "lever,..."))
  var levers = Levers()

  @Option(
    help: ArgumentHelp(
      "Encoder of the prototype router: linear, or lpr (LayerNorm, SiLU, linear, as in the paper).",
      valueName: "linear|lpr"))
  var encoder = PrototypeRouter.EncoderKind.linear

  @Option(
    help: ArgumentHelp(
      "Similarity of the prototype router: \(SimilarityName.all).", valueName: "name"))
  var similarity = SimilarityName()

  @Option(
    help: ArgumentHelp(
      "Latent size of the prototypes; with --router lpr-official, of its router (auto: the number "
        + "of experts + 1; the paper has 16).", valueName: "auto|n"))
  var latent = LatentSize()

  @Option(
    help: ArgumentHelp(
      "Gradient steps of the prototype router towards the original's routing; auto: 400 where "
        + "--latent is a number, none where its size is chosen to keep the routing. With --router "
        + "lpr-official, of its router (auto: 400).",
      valueName: "auto|n"))
  var refine = RefinementSteps()

  @OptionGroup var mtp: MTPArguments

  @Option(help: "Seed of everything random; the same seed gives the same bytes.")
  var seed: UInt64 = 0

  func validate() throws {
    if let weights, weights.values.count != calibration.count {
      throw ValidationError(
        "--weights must give one weight for each --calibration: \(weights.values.count) for "
          + "\(calibration.count).")
    }
    if !protected.isEmpty, calibration.isEmpty {
      throw ValidationError("--protect goes with --calibration.")
    }
  }

  /// Whether nothing says what to fit to.
  var isEmpty: Bool { calibration.isEmpty && weights == nil && protected.isEmpty }

  func request(_ checkpoint: String, tokens: TokenArguments, threads: Int) -> ConvertRequest {
    var request = ConvertRequest(
      checkpoint: checkpoint, calibration: calibration, weights: weights?.values ?? [],
      protected: protected, tokens: tokens.options(seed: seed), form: router, clones: levers.clone,
      latentSize: latent.size,
      latentForm: .init(encoder: encoder, similarity: similarity.kind),
      refinementSteps: refine.steps, seed: seed, threads: threads)
    request.routes = levers.route
    request.places = levers.place
    request.mtp = mtp.includes
    return request
  }
}

/// Positive numbers, separated by commas.
struct Weights: ExpressibleByArgument {
  let values: [Double]

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    values = words.compactMap { Double($0) }
    guard values.count == words.count, values.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      return nil
    }
  }
}
