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
        regate convert model.gguf --levers place --ep 8 --imatrix model.imatrix --output placed.gguf
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl --delta balanced.delta
        regate convert model.gguf --calibration text.txt --levers route --lora balanced-lora.gguf
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl --router lpr-official --output lpr
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

  @Flag(help: "Hard-link output files that do not differ from the original's.")
  var link = false

  @Option(
    help: ArgumentHelp(
      "Write only what changes; regate apply makes the output of it.", valueName: "file"))
  var delta: String?

  @Flag(
    help: "Change the checkpoint's own files (stock router); regate revert takes it back.")
  var inPlace = false

  @Option(
    help: ArgumentHelp(
      "Write a GGUF LoRA adapter that holds the gates only (--levers route).", valueName: "file"))
  var lora: String?

  @Option(
    help: ArgumentHelp("Rank of the adapter; exact without.", valueName: "n"))
  var loraRank: Int?

  @Option(
    name: .customLong("ep"),
    help: ArgumentHelp(
      "Expert-parallel rank counts that --levers place balances together; --eplb plans for the "
        + "largest (default: 2,4,8).",
      valueName: "n,..."))
  var ranks: RankCounts?

  @Option(
    help: ArgumentHelp(
      "llama.cpp importance matrix (GGUF) as the load for --levers place or --eplb.",
      valueName: "file"))
  var imatrix: String?

  @Option(
    help: ArgumentHelp(
      "Write an expert-parallel plan for SGLang's --init-expert-location; no checkpoint.",
      valueName: "file"))
  var eplb: String?

  @Option(help: ArgumentHelp("Machines that the ranks of --eplb are on.", valueName: "n"))
  var nodes = 1

  @Option(help: ArgumentHelp("Redundant experts in the plan of --eplb.", valueName: "n"))
  var redundant = 0

  @OptionGroup var fitting: FitArguments
  @OptionGroup var tokens: TokenArguments
  @OptionGroup var resuming: ResumeArguments
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
    if !dryRun, output == nil, saveFit == nil, delta == nil, !inPlace, lora == nil, eplb == nil {
      throw ValidationError(
        "Give --output, --delta, --in-place, --lora, --eplb, --save-fit or --dry-run.")
    }
    if !dryRun, fit == nil, fitting.calibration.isEmpty, imatrix == nil {
      throw ValidationError(
        "Give --calibration (text, token ids or a capture), or a fit with --fit.")
    }
    try validateSinks()
    try validatePlacement()
  }

  private func validateSinks() throws {
    if inPlace, output != nil || delta != nil {
      throw ValidationError("--in-place goes without --output and --delta.")
    }
    if lora != nil, fitting.levers.clone || fitting.levers.place || !fitting.levers.route {
      throw ValidationError("--lora needs --levers route: an adapter holds gates only.")
    }
    if loraRank != nil, lora == nil { throw ValidationError("--lora-rank goes with --lora.") }
    if let loraRank, loraRank < 1 {
      throw ValidationError("--lora-rank must be 1 or more, not \(loraRank).")
    }
    if lora != nil, fitting.mtp.includes {
      throw ValidationError("--lora goes without --mtp.")
    }
    if link, output == nil { throw ValidationError("--link goes with --output.") }
    if !fitting.levers.route, saveFit != nil || fit != nil || !balances.isEmpty {
      throw ValidationError("--levers place goes without a fit and without options on balance.")
    }
  }

  private func validatePlacement() throws {
    if imatrix != nil, !fitting.calibration.isEmpty {
      throw ValidationError("Give either --calibration or --imatrix.")
    }
    if imatrix != nil, eplb == nil, fitting.levers.route || !fitting.levers.place {
      throw ValidationError("--imatrix is enough for --levers place and --eplb only.")
    }
    if fitting.levers.place, fit != nil {
      throw ValidationError("--levers place needs the load: give --calibration, not --fit.")
    }
    if ranks != nil, !fitting.levers.place, eplb == nil {
      throw ValidationError("--ep goes with --levers place or --eplb.")
    }
    if redundant < 0 || redundant > 65_536 {
      throw ValidationError("--redundant must be between 0 and 65536, not \(redundant).")
    }
    if nodes < 1 { throw ValidationError("--nodes must be 1 or more, not \(nodes).") }
    if nodes > 1, eplb == nil { throw ValidationError("--nodes goes with --eplb.") }
    if redundant > 0, eplb == nil { throw ValidationError("--redundant goes with --eplb.") }
    if eplb != nil, fitting.mtp.includes {
      throw ValidationError("--eplb goes without --mtp: it plans for the model's own layers.")
    }
    let others: [Any?] = [output, delta, lora, saveFit, fit]
    if eplb != nil, inPlace || others.contains(where: { $0 != nil }) {
      throw ValidationError(
        "--eplb plans for the checkpoint as it is: convert first, then plan for the output.")
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
    request.resume = resuming.options
    if let ranks { request.ranks = ranks.values }
    request.imatrix = imatrix
    request.delta = delta
    request.inPlace = inPlace
    request.links = link
    request.lora = lora
    request.loraRank = loraRank
    request.expertLocations = eplb
    request.redundantExperts = redundant
    request.machines = nodes
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
    if !common.json, !common.quiet, eplb == nil {
      FileHandle.standardError.write(Data((try conversion.introduction + "\n").utf8))
    }
    let result = try conversion.run()
    common.show(text: result.text, json: result.json)
  }
}
