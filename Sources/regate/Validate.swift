// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Inference
import RegateKit
import Reports

struct Validate: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Compare a patched checkpoint with its original on held-out text.",
    discussion: """
      Reports balance, routing agreement and the output error of every MoE layer, computed with \
      the real experts; on text or token ids also NLL, perplexity and next-token KL of the whole \
      model. Clones are recognised by their bytes. Give text that the fit did not see. With \
      thresholds, the exit code is 1 if one is not met.

      With --drift it compares two trainings of one model instead, such as a fine-tuned one against \
      its base: how far the load of the experts has moved.

      EXAMPLES
        regate validate original balanced --calibration heldout.jsonl
        regate validate model.gguf balanced.gguf --calibration heldout.safetensors \\
          --max-gini 0.1 --json
        regate validate original balanced --calibration heldout.jsonl \\
          --html balance.html
        regate validate base tuned --calibration traffic.jsonl --drift
      """)

  @Argument(help: "The checkpoint that the patched one was made from.")
  var original: String

  @Argument(help: "The patched checkpoint.")
  var patched: String

  @Option(
    name: .customLong("calibration"),
    help: ArgumentHelp(
      "Text (.txt, .jsonl, .json, .gz), token ids (.npy, .npz, .safetensors) or captured "
        + "activations of the original, held out from the fit. Repeatable.", valueName: "file"))
  var calibration: [String]

  @Option(help: ArgumentHelp("Fail if the mean Gini over layers is above this.", valueName: "g"))
  var maxGini: Double?

  @Option(help: ArgumentHelp("Fail if any layer's Gini is above this.", valueName: "g"))
  var maxLayerGini: Double?

  @Option(
    help: ArgumentHelp(
      "Fail if the mean over layers of least/most used expert is below this.", valueName: "m"))
  var minRatio: Double?

  @Option(
    help: ArgumentHelp("Fail if the mean output error over layers is above this.", valueName: "x"))
  var maxOutputError: Double?

  @Option(
    help: ArgumentHelp(
      "Fail if the perplexity rises by more than this share, 0.01 for one percent. Needs text or "
        + "token ids.", valueName: "p"))
  var maxPerplexityIncrease: Double?

  @Option(
    name: .customLong("ep"),
    help: ArgumentHelp("Expert-parallel rank counts to report imbalance for.", valueName: "n,..."))
  var ranks: PositiveIntegers?

  @OptionGroup var batches: BatchArgument

  @Option(
    help: ArgumentHelp(
      "Which positions count for NLL, perplexity and KL: all, or llama for llama-perplexity's "
        + "figures (windows of --length tokens as its -c, the second half of each, the tail "
        + "dropped).", valueName: "protocol"))
  var pplProtocol = PerplexityProtocol.all

  @Flag(
    help: ArgumentHelp(
      "Compare the expert load of two trainings of one model, each run with its own weights; "
        + "PATCHED is the other training."))
  var drift = false

  @OptionGroup var mtp: MTPArguments
  @OptionGroup var tokens: TokenArguments
  @OptionGroup var running: RunArguments
  @OptionGroup var seed: SeedArgument
  @OptionGroup var page: PageArguments
  @OptionGroup var resuming: ResumeArguments
  @OptionGroup var interval: ResumeInterval
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if batches.given != nil, ranks == nil { throw ValidationError("--batch goes with --ep.") }
    for (name, limit) in [
      ("--max-gini", maxGini), ("--max-layer-gini", maxLayerGini), ("--min-ratio", minRatio),
      ("--max-output-error", maxOutputError), ("--max-perplexity-increase", maxPerplexityIncrease),
    ] {
      guard let limit else { continue }
      guard !drift else { throw ValidationError("\(name) does not go with --drift.") }
      if !limit.isFinite { throw ValidationError("\(name) must be a number, not \(limit).") }
    }
    if drift, !resuming.isStandard(interval) {
      throw ValidationError("--resume and --resume-every do not go with --drift.")
    }
  }

  private var tokenOptions: TokenOptions {
    var options = tokens.options(running, seed: seed.seed)
    options.perplexity = pplProtocol
    return options
  }

  func run() throws {
    let file = try page.file(checkpoints: [original, patched], inputs: calibration)
    guard !drift else {
      let request = LoadDrift.Request(
        original: original, other: patched, calibration: calibration, tokens: tokenOptions,
        ranks: ranks?.values ?? [], mtp: mtp.includes, threads: common.threads)
      try common.show(writing: \.page, to: file) {
        try LoadDrift.run(request, progress: $0)
      }
      return
    }
    let request = Validation.Request(
      original: original, patched: patched, calibration: calibration, tokens: tokenOptions,
      thresholds: Validation.Thresholds(
        maxGini: maxGini, maxLayerGini: maxLayerGini, minRatio: minRatio,
        maxOutputError: maxOutputError, maxPerplexityIncrease: maxPerplexityIncrease),
      ranks: ranks?.values ?? [], batches: batches.sizes, mtp: mtp.includes,
      threads: common.threads,
      resume: resuming.options(interval))
    let validation = try common.show(writing: \.page, to: file) {
      try Validation.run(request, progress: $0)
    }
    if !validation.passed { throw ExitCode(1) }
  }
}
