// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import Foundation
public import RegateKit

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

  @Option(help: "Form of the router: lpr (native; default for safetensors) or stock (for GGUF).")
  var router: RouterForm?

  @Option(
    help: ArgumentHelp(
      "What may change: clone (copy hot experts over unused ones), route (the router).",
      valueName: "lever,..."))
  var levers = Levers()

  @Option(help: ArgumentHelp("Latent size of the prototypes.", valueName: "auto|n"))
  var latent = LatentSize()

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
    ConvertRequest(
      checkpoint: checkpoint, calibration: calibration, weights: weights?.values ?? [],
      protected: protected, tokens: tokens.options(seed: seed), form: router, clones: levers.clone,
      latentSize: latent.size, seed: seed, threads: threads)
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

extension RouterForm: ExpressibleByArgument {}

/// The levers of `--levers`: route always, clone or not.
struct Levers: ExpressibleByArgument {
  let clone: Bool

  init() { clone = true }

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard words.contains("route"), words.allSatisfy({ ["clone", "route"].contains($0) }) else {
      return nil
    }
    clone = words.contains("clone")
  }

  var defaultValueDescription: String { "clone,route" }
}

/// `auto` or a number of dimensions.
struct LatentSize: ExpressibleByArgument {
  let size: Int?

  init() { size = nil }

  init?(argument: String) {
    if argument == "auto" {
      size = nil
    } else {
      guard let number = Int(argument), number > 0 else { return nil }
      size = number
    }
  }

  var defaultValueDescription: String { "auto" }
}
