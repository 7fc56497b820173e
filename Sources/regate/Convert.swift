// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit

struct Convert: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a checkpoint with balanced routers.",
    discussion: """
      Fits routers to your traffic, or takes a fit of regate fit, and writes a patched copy: \
      byte-identical but for routers and cloned experts. The original is never touched; an output \
      is complete or not there. How the fit is made can be tuned by the options of regate fit, \
      files that do not differ can be linked, and an adapter has a rank: regate convert \
      --help-hidden.

      EXAMPLES
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl -o balanced
        regate convert model --calibration chat.txt --max-loss-increase 0.01 -o out
        regate convert model-Q4_K_M.gguf --fit my.fit -o balanced-Q4_K_M.gguf
        regate convert model --calibration traffic.jsonl --prune 16 -o pruned
        regate convert model --calibration traffic.jsonl --delta balanced.delta
        regate convert model.gguf --calibration text.txt --lora lora.gguf
      """)

  @Argument(help: "A checkpoint directory, .safetensors or .gguf file.")
  var checkpoint: String

  @OptionGroup(title: "The fit") var calibration: CalibrationArguments
  @OptionGroup(title: "The fit") var budget: BudgetArguments
  @OptionGroup(title: "The fit") var ranks: RankArguments
  @OptionGroup(title: "The fit") var prune: PruneArgument
  @OptionGroup(title: "The fit") var tokens: TokenArguments
  @OptionGroup(visibility: .hidden) var seed: SeedArgument
  @OptionGroup(visibility: .hidden) var rankTuning: RankTuning
  @OptionGroup(visibility: .hidden) var running: RunArguments
  @OptionGroup(visibility: .hidden) var tuning: TuningArguments

  @Option(help: ArgumentHelp("A fit of regate fit, instead of all that.", valueName: "file"))
  var fit: String?

  @OptionGroup var router: RouterArgument

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Directory or .gguf file to write.", valueName: "path"))
  var output: String?

  @Option(help: ArgumentHelp("Write only what changes, for regate apply.", valueName: "file"))
  var delta: String?

  @Flag(help: "Change the checkpoint's own files; regate revert takes it back.")
  var inPlace = false

  @Option(help: ArgumentHelp("Write a GGUF adapter that holds the gates only.", valueName: "file"))
  var lora: String?

  @Option(
    help: ArgumentHelp(
      "Rank of the adapter; exact without.", valueName: "n", visibility: .hidden))
  var loraRank: Int?

  @Flag(help: ArgumentHelp("Hard-link files of --output that do not differ.", visibility: .hidden))
  var link = false

  @Flag(help: "Replace an output of Regate.")
  var overwrite = false

  @Flag(help: "Say what would be written and needed.")
  var dryRun = false

  @OptionGroup var resuming: ResumeArguments
  @OptionGroup(visibility: .hidden) var interval: ResumeInterval
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if outputs.count > 1 {
      throw ValidationError("Give one of --output, --delta, --in-place and --lora.")
    }
    if outputs.isEmpty, !dryRun {
      throw ValidationError("Give --output, --delta, --in-place, --lora or --dry-run.")
    }
    if fit != nil,
      !calibration.isEmpty || !budget.isEmpty || !tuning.isEmpty || ranks.counts != nil
        || !rankTuning.isEmpty || prune.count != nil
    {
      throw ValidationError(
        "--fit takes the place of --calibration, --weights, --protect and of what says how much "
          + "balance and how it is made.")
    }
    if fit != nil, !(tokens.isStandard && running.isStandard && seed.isStandard) {
      throw ValidationError(
        "--fit takes the place of --max-tokens, --field, --precision, --length and --seed: its tokens "
          + "are those of the fit.")
    }
    try rankTuning.validate(budget, ranks)
    try prune.validate(
      calibration, isBalanced: !budget.isEmpty || ranks.counts != nil || !rankTuning.isEmpty,
      router, tuning)
    if prune.count != nil, inPlace || lora != nil {
      throw ValidationError("--prune goes with --output or --delta: it makes new files.")
    }
    if source == nil, !dryRun {
      throw ValidationError(
        "Give --calibration (text, token ids or a capture), or a fit with --fit.")
    }
    if !resuming.isStandard(interval), dryRun || fit != nil {
      throw ValidationError(
        "--resume and --resume-every go with a fit that is made: not with --fit or --dry-run.")
    }
    if link, output == nil { throw ValidationError("--link goes with --output.") }
    if overwrite, output == nil, delta == nil, lora == nil {
      throw ValidationError("--overwrite goes with --output, --delta or --lora.")
    }
    if let loraRank, lora == nil || loraRank < 1 {
      throw ValidationError("--lora-rank goes with --lora, and is 1 or more.")
    }
  }

  /// What is to be written, in every way that was given.
  private var outputs: [Conversion.Output] {
    [
      output.map { .checkpoint(.copy(to: $0, links: link, overwrite: overwrite)) },
      delta.map { .checkpoint(.delta(to: $0, overwrite: overwrite)) },
      inPlace ? .checkpoint(.inPlace) : nil,
      lora.map { .adapter(to: $0, rank: loraRank, overwrite: overwrite) },
    ].compactMap { $0 }
  }

  private var source: Conversion.Source? {
    if let fit { return .file(fit) }
    guard !calibration.files.isEmpty else { return nil }
    return .traffic(
      calibration.sets(tokens.options(running, seed: seed.seed)),
      budget: prune.budget ?? rankTuning.budget(budget, ranks),
      settings: tuning.settings(seed), resume: resuming.options(interval))
  }

  func run() throws {
    guard !dryRun, let source, let output = outputs.first else {
      try common.show { progress in
        try ConversionPlan.run(
          ConversionPlan.Request(
            checkpoint: checkpoint, source: source, output: outputs.first, form: router.router,
            threads: common.threads), progress: progress)
      }
      return
    }
    let request = Conversion.Request(
      checkpoint: checkpoint, source: source, output: output, form: router.router,
      threads: common.threads)
    try common.show { progress in
      let conversion = try Conversion.prepare(request, progress: progress)
      common.announce(conversion.plan.introduction)
      return try conversion.run()
    }
  }
}
