// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
public import RegateKit

struct Fit: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Fit balanced routers to traffic, and keep them in a file.",
    discussion: """
      Runs the model on a sample of your traffic, layer by layer, and fits a prototype router, a \
      plan of which hot experts are copied over hardly used ones, and the stock form of both. One \
      eighth of the traffic is held out: every figure is on tokens that no plan, router or gate \
      saw. One fit serves the original and all its quantisations. Without --output, the figures \
      are all that comes of it.

      EXAMPLES
        regate fit Qwen3-30B-A3B --calibration traffic.jsonl --output my.fit
        regate fit Qwen3-30B-A3B --calibration traffic.jsonl --ep 8,16 -o my.fit
        regate fit model.gguf --calibration capture.safetensors \\
          --target-gini 0.1 -o my.fit
        regate fit Qwen3-30B-A3B --calibration chat.jsonl --calibration code.jsonl \\
          --weights 3,1 --protect papers.txt --max-loss-increase 0.02 -o my.fit
        regate fit Qwen3-30B-A3B --calibration captures --layers 0-23 -o 1.fit
        regate fit Qwen3-30B-A3B --calibration captures --layers 24-47 -o 2.fit
        regate fit --merge 1.fit 2.fit --output my.fit
        regate convert model-Q4_K_M.gguf --fit my.fit --output balanced-Q4_K_M.gguf
      """)

  @Argument(
    help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("Fit file to write.", valueName: "file"))
  var output: String?

  @Option(
    help: ArgumentHelp(
      "Fit these layers alone, or the i-th of n shares of them, to captures: a part for --merge.",
      valueName: "a-b|i/n"))
  var layers: LayerPart?

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      "Join parts, which hold all layers once, into the fit that one run writes.",
      valueName: "part"))
  var merge: [String] = []

  @Flag(help: "Replace an existing fit file.")
  var overwrite = false

  @OptionGroup(title: "Traffic") var calibration: CalibrationArguments
  @OptionGroup(title: "Traffic") var tokens: TokenArguments
  @OptionGroup(title: "Traffic") var running: RunArguments
  @OptionGroup(title: "How much balance") var budget: BudgetArguments
  @OptionGroup(title: "How much balance") var ranks: RankArguments
  @OptionGroup(title: "How much balance") var rankTuning: RankTuning
  @OptionGroup(title: "How much balance") var prune: PruneArgument
  @OptionGroup(title: "The routers") var router: RouterArgument
  @OptionGroup(title: "The routers") var tuning: TuningArguments
  @OptionGroup(title: "The routers") var seed: SeedArgument
  @OptionGroup var resuming: ResumeArguments
  @OptionGroup var interval: ResumeInterval
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard merge.isEmpty else { return try validateMerge() }
    if checkpoint == nil { throw ValidationError("Missing expected argument '<checkpoint>'") }
    if calibration.files.isEmpty {
      throw ValidationError("Give --calibration (text, token ids or a capture).")
    }
    try rankTuning.validate(budget, ranks)
    try prune.validate(
      calibration, isBalanced: !budget.isEmpty || ranks.counts != nil || !rankTuning.isEmpty,
      router, tuning)
    if output == nil, overwrite || !resuming.isStandard(interval) {
      throw ValidationError("--overwrite, --resume and --resume-every go with --output.")
    }
  }

  /// Parts say all that is to be said of a fit.
  private func validateMerge() throws {
    let isAlone =
      checkpoint == nil && layers == nil && calibration.isEmpty && tokens.isStandard
      && running.isStandard && seed.isStandard && budget.isEmpty && ranks.counts == nil
      && rankTuning.isEmpty && prune.count == nil && router.router == nil && tuning.isEmpty
      && resuming.isStandard(interval)
    guard isAlone, output != nil else {
      throw ValidationError(
        "--merge takes parts, --output and --overwrite: all else is in the parts.")
    }
  }

  func run() throws {
    if let output, !merge.isEmpty {
      return try basic.show(
        FitMerge.run(.init(parts: merge, output: output, overwrite: overwrite)))
    }
    let request = FitRun.Request(
      checkpoint: checkpoint ?? "",
      calibration: calibration.sets(tokens.options(running, seed: seed.seed)),
      budget: prune.budget ?? rankTuning.budget(budget, ranks),
      settings: tuning.settings(seed),
      form: router.router,
      layers: layers,
      threads: common.threads,
      output: output.map {
        FitRun.Output($0, overwrite: overwrite, resume: resuming.options(interval))
      })
    try common.show { try FitRun.run(request, progress: $0) }
  }
}

extension LayerPart: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
