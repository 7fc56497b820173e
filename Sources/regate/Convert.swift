// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ByteStorage
import Foundation
import RegateKit
import Reports
import Routing

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a copy of a checkpoint with a balanced router.",
    discussion: """
      Runs the model on a sample of your traffic, layer by layer, fits a prototype router to it, \
      copies hot experts over hardly used ones, and writes a patched copy: byte-identical except \
      for the routers and the cloned slots. The original is never touched; an output is complete \
      or not there. Captured activations (regate capture, tools/capture.py) serve as well as text.

      EXAMPLES
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl --output balanced
        regate convert model.gguf --calibration capture.safetensors --output balanced.gguf
        regate convert Qwen3-30B-A3B --dry-run
        regate convert Qwen3-30B-A3B --calibration capture.safetensors --dry-run --fit
        regate convert Qwen3-30B-A3B --calibration capture.safetensors --save-fit my.fit
        regate convert model-Q4_K_M.gguf --fit my.fit --output balanced-Q4_K_M.gguf
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    name: .customLong("calibration"),
    help: ArgumentHelp(
      "Text (.txt, .jsonl, .gz), token ids (.npy, .npz, .safetensors) or captured activations to "
        + "fit to. Repeatable; taken as one set.", valueName: "file"))
  var captures: [String] = []

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Directory (safetensors) or .gguf file to write.", valueName: "path"))
  var output: String?

  @Option(help: "Form of the router: lpr (native; default for safetensors) or stock (for GGUF).")
  var router: RouterForm?

  @Option(
    help: ArgumentHelp(
      "What may change: clone (copy hot experts over unused ones), route (the router).",
      valueName: "lever,..."))
  var levers = Levers()

  @Option(help: ArgumentHelp("0 changes nothing, 1 asks for uniform load.", valueName: "s"))
  var strength: Double?

  @Option(
    help: ArgumentHelp(
      "Use the least strength that brings the mean held-out Gini down to this.", valueName: "g"))
  var targetGini: Double?

  @Option(
    help: ArgumentHelp(
      "Encoder of the native router: linear, or lpr (LayerNorm, SiLU, linear, as in the paper).",
      valueName: "linear|lpr"))
  var encoder = PrototypeRouter.EncoderKind.linear

  @Option(
    help: ArgumentHelp(
      "Similarity of the native router: \(SimilarityName.all).", valueName: "name"))
  var similarity = SimilarityName()

  @Option(help: ArgumentHelp("Latent size of the prototypes.", valueName: "auto|n"))
  var latent = LatentSize()

  @Option(
    help: ArgumentHelp(
      "Gradient steps of the native router towards the original's routing; auto: 400 where "
        + "--latent is a number, none where its size is chosen to keep the routing.",
      valueName: "auto|n"))
  var refine = RefinementSteps()

  @Option(help: "Seed of everything random; the same seed gives the same bytes.")
  var seed: UInt64 = 0

  @Option(
    help: ArgumentHelp(
      "Write the fitted routers to a file that other copies of the model can use.",
      valueName: "file"))
  var saveFit: String?

  @Option(
    help: ArgumentHelp(
      "Use the fitted routers of --save-fit instead of fitting. Without a value, with --dry-run: "
        + "fit, and show the expected figures.", valueName: "file"))
  var fit: String?

  /// What a bare `--fit` is read as: ArgumentParser has no options with an optional value.
  @Flag(help: .hidden)
  var fitNow = false

  @Flag(help: "Say what would be written and needed, from headers only; nothing is written.")
  var dryRun = false

  @Flag(help: "Replace an output of Regate that exists already.")
  var overwrite = false

  @OptionGroup var tokens: TokenArguments
  @OptionGroup var common: CommonOptions

  /// `arguments` with a `--fit` that no value follows as the flag that it means.
  static func readingBareFit(_ arguments: [String]) -> [String] {
    arguments.enumerated().map { index, argument in
      guard argument == "--fit" else { return argument }
      let next = index + 1 < arguments.count ? arguments[index + 1] : nil
      return next.map { $0.hasPrefix("-") } ?? true ? "--fit-now" : argument
    }
  }

  func validate() throws {
    if let strength, !(0...1).contains(strength) {
      throw ValidationError("--strength must be between 0 and 1, not \(strength).")
    }
    if let targetGini, !(0...1).contains(targetGini) {
      throw ValidationError("--target-gini must be between 0 and 1, not \(targetGini).")
    }
    if strength != nil, targetGini != nil {
      throw ValidationError("Give either --strength or --target-gini.")
    }
    if fitNow, !dryRun {
      throw ValidationError("--fit without a file goes with --dry-run.")
    }
    if fitNow, captures.isEmpty {
      throw ValidationError("--dry-run --fit needs --calibration.")
    }
    if fit != nil, !captures.isEmpty || saveFit != nil || strength != nil || targetGini != nil {
      throw ValidationError(
        "--fit FILE takes the place of --calibration, --strength, --target-gini and --save-fit.")
    }
    if !dryRun, output == nil, saveFit == nil {
      throw ValidationError("Give --output, --save-fit or --dry-run.")
    }
    if !dryRun, fit == nil, captures.isEmpty {
      throw ValidationError(
        "Give --calibration (text, token ids or a capture), or a fit with --fit.")
    }
  }

  /// With --dry-run the output is checked like any, but never written.
  private var request: ConvertRequest {
    ConvertRequest(
      checkpoint: checkpoint, calibration: captures, tokens: tokens.options(seed: seed),
      output: output, form: router,
      clones: levers.clone,
      balance: targetGini.map { .targetGini($0) } ?? .strength(strength ?? 1),
      latentSize: latent.size,
      latentForm: .init(encoder: encoder, similarity: similarity.kind),
      refinementSteps: refine.steps, seed: seed, threads: common.threads, saveFit: saveFit,
      fit: fit, overwrite: overwrite)
  }

  func run() throws {
    let conversion = try Conversion(request, progress: ProgressLine(quiet: common.quiet))
    if dryRun {
      let plan = try conversion.plan()
      guard fitNow else {
        common.show(text: plan.text, json: plan.json)
        return
      }
      let result = try conversion.run(writing: false)
      common.show(text: plan.text + "\n\n" + result.text, json: result.json)
      return
    }
    if !common.json, !common.quiet {
      FileHandle.standardError.write(Data((try conversion.plan().headline + "\n").utf8))
    }
    let result = try conversion.run()
    common.show(text: result.text, json: result.json)
  }
}
