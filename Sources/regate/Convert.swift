// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ByteStorage
import Foundation
import RegateKit
import Reports

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
        regate convert Qwen3-30B-A3B --calibration chat.jsonl --calibration code.jsonl \\
          --weights 3,1 --protect papers.txt --max-loss-increase 0.02 --output balanced
        regate convert Qwen3-30B-A3B --dry-run
        regate convert Qwen3-30B-A3B --calibration capture.safetensors --dry-run --fit
        regate convert Qwen3-30B-A3B --calibration capture.safetensors --save-fit my.fit
        regate convert model-Q4_K_M.gguf --fit my.fit --output balanced-Q4_K_M.gguf
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Directory (safetensors) or .gguf file to write.", valueName: "path"))
  var output: String?

  @Option(help: ArgumentHelp("0 changes nothing, 1 asks for uniform load.", valueName: "s"))
  var strength: Double?

  @Option(
    help: ArgumentHelp(
      "Use the least strength that brings the mean held-out Gini down to this.", valueName: "g"))
  var targetGini: Double?

  @Option(
    help: ArgumentHelp(
      "Take the most balance at which the mean NLL of held-out tokens rises by no more. Needs text "
        + "or token ids.", valueName: "nats"))
  var maxLossIncrease: Double?

  @Option(
    help: ArgumentHelp(
      "Take the most balance at which the mean output error on held-out captures is no larger.",
      valueName: "x"))
  var maxOutputError: Double?

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

  @OptionGroup var fitting: FitArguments
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
    for (name, limit) in [
      ("--max-loss-increase", maxLossIncrease), ("--max-output-error", maxOutputError),
    ] {
      if let limit, !(limit >= 0 && limit.isFinite) {
        throw ValidationError("\(name) must be 0 or more, not \(limit).")
      }
    }
    if balances.count > 1 {
      throw ValidationError(
        "Give one of --strength, --target-gini, --max-loss-increase and --max-output-error.")
    }
    if fitNow, !dryRun {
      throw ValidationError("--fit without a file goes with --dry-run.")
    }
    if fitNow, fitting.calibration.isEmpty {
      throw ValidationError("--dry-run --fit needs --calibration.")
    }
    if fit != nil, !fitting.isEmpty || saveFit != nil || !balances.isEmpty {
      throw ValidationError(
        "--fit FILE takes the place of --calibration, --weights, --protect, --save-fit and of what "
          + "says how much balance.")
    }
    if !dryRun, output == nil, saveFit == nil {
      throw ValidationError("Give --output, --save-fit or --dry-run.")
    }
    if !dryRun, fit == nil, fitting.calibration.isEmpty {
      throw ValidationError("Give --calibration (text, token ids or a capture), or a fit with --fit.")
    }
  }

  /// How much balance was asked for, in every way that was given.
  private var balances: [ConvertRequest.Balance] {
    [
      strength.map { .strength($0) }, targetGini.map { .targetGini($0) },
      maxLossIncrease.map { .maxLossIncrease($0) }, maxOutputError.map { .maxOutputError($0) },
    ].compactMap { $0 }
  }

  /// With --dry-run the output is checked like any, but never written.
  private var request: ConvertRequest {
    var request = fitting.request(checkpoint, tokens: tokens, threads: common.threads)
    request.balance = balances.first ?? .strength(1)
    request.output = output
    request.saveFit = saveFit
    request.fit = fit
    request.overwrite = overwrite
    return request
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
      let plan = try conversion.plan()
      let lines = [plan.headline] + (plan.candidates > 1 ? [plan.memory].compactMap { $0 } : [])
      FileHandle.standardError.write(Data((lines.joined(separator: "\n") + "\n").utf8))
    }
    let result = try conversion.run()
    common.show(text: result.text, json: result.json)
  }
}
