// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import ByteStorage
import Foundation
public import RegateKit
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
        regate convert Qwen3-30B-A3B --dry-run
        regate convert Qwen3-30B-A3B --calibration capture.safetensors --dry-run --fit
        regate convert Qwen3-30B-A3B --calibration capture.safetensors --save-fit my.fit
        regate convert model-Q4_K_M.gguf --fit my.fit --output balanced-Q4_K_M.gguf
        regate convert model.gguf --levers place --ep 8 --imatrix model.imatrix --output placed.gguf
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl --delta balanced.delta
        regate convert model.gguf --calibration text.txt --levers route --lora balanced-lora.gguf
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
      "What may change: place (the experts' numbers, so that expert-parallel ranks carry equal "
        + "load), clone (copy hot experts over unused ones), route (the router).",
      valueName: "lever,..."))
  var levers = Levers()

  @Option(help: ArgumentHelp("0 changes nothing, 1 asks for uniform load.", valueName: "s"))
  var strength: Double?

  @Option(
    help: ArgumentHelp(
      "Use the least strength that brings the mean held-out Gini down to this.", valueName: "g"))
  var targetGini: Double?

  @Option(help: ArgumentHelp("Latent size of the prototypes.", valueName: "auto|n"))
  var latent = LatentSize()

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
    if !dryRun, output == nil, saveFit == nil, delta == nil, !inPlace, lora == nil, eplb == nil {
      throw ValidationError(
        "Give --output, --delta, --in-place, --lora, --eplb, --save-fit or --dry-run.")
    }
    if !dryRun, fit == nil, captures.isEmpty, imatrix == nil {
      throw ValidationError("Give --calibration (text, token ids or a capture), or a fit with --fit.")
    }
    try validateSinks()
    try validatePlacement()
  }

  private func validateSinks() throws {
    if inPlace, output != nil || delta != nil {
      throw ValidationError("--in-place goes without --output and --delta.")
    }
    if lora != nil, levers.clone || levers.place || !levers.route {
      throw ValidationError("--lora needs --levers route: an adapter holds gates only.")
    }
    if loraRank != nil, lora == nil { throw ValidationError("--lora-rank goes with --lora.") }
    if let loraRank, loraRank < 1 {
      throw ValidationError("--lora-rank must be 1 or more, not \(loraRank).")
    }
    if link, output == nil { throw ValidationError("--link goes with --output.") }
    if !levers.route, saveFit != nil || fit != nil || strength != nil || targetGini != nil {
      throw ValidationError("--levers place goes without a fit, --strength and --target-gini.")
    }
  }

  private func validatePlacement() throws {
    if imatrix != nil, !captures.isEmpty {
      throw ValidationError("Give either --calibration or --imatrix.")
    }
    if imatrix != nil, eplb == nil, levers.route || !levers.place {
      throw ValidationError("--imatrix is enough for --levers place and --eplb only.")
    }
    if levers.place, fit != nil {
      throw ValidationError("--levers place needs the load: give --calibration, not --fit.")
    }
    if ranks != nil, !levers.place, eplb == nil {
      throw ValidationError("--ep goes with --levers place or --eplb.")
    }
    if redundant < 0 || redundant > 65_536 {
      throw ValidationError("--redundant must be between 0 and 65536, not \(redundant).")
    }
    if nodes < 1 { throw ValidationError("--nodes must be 1 or more, not \(nodes).") }
    if nodes > 1, eplb == nil { throw ValidationError("--nodes goes with --eplb.") }
    if redundant > 0, eplb == nil { throw ValidationError("--redundant goes with --eplb.") }
    let others: [Any?] = [output, delta, lora, saveFit, fit]
    if eplb != nil, inPlace || others.contains(where: { $0 != nil }) {
      throw ValidationError(
        "--eplb plans for the checkpoint as it is: convert first, then plan for the output.")
    }
  }

  /// With --dry-run the output is checked like any, but never written.
  private var request: ConvertRequest {
    var request = ConvertRequest(
      checkpoint: checkpoint, calibration: captures, tokens: tokens.options(seed: seed),
      output: output, form: router,
      clones: levers.clone,
      balance: targetGini.map { .targetGini($0) } ?? .strength(strength ?? 1),
      latentSize: latent.size, seed: seed, threads: common.threads, saveFit: saveFit, fit: fit,
      overwrite: overwrite)
    request.routes = levers.route
    request.places = levers.place
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
      FileHandle.standardError.write(Data((try conversion.plan().headline + "\n").utf8))
    }
    let result = try conversion.run()
    common.show(text: result.text, json: result.json)
  }
}

extension RouterForm: ExpressibleByArgument {}

/// The levers of `--levers`: place, route or both, and clone with route.
struct Levers: ExpressibleByArgument {
  let place: Bool
  let clone: Bool
  let route: Bool

  init() {
    place = false
    clone = true
    route = true
  }

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    guard !words.isEmpty, words.allSatisfy({ ["place", "clone", "route"].contains($0) }),
      words.contains("route") || !words.contains("clone")
    else { return nil }
    place = words.contains("place")
    clone = words.contains("clone")
    route = words.contains("route")
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
