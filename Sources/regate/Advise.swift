// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit

struct Advise: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say what to do for even expert-parallel ranks, and what it costs.",
    discussion: """
      Looks at all that can be done, in one pass over the layers: renumbering, redundant experts at \
      run time, also in the places of pruned ones, and new routers for even ranks or even \
      experts. For each it tells the busiest rank, also batch by batch, the time of the MoE layers \
      by a roofline, loss, memory, what would be written, which runtimes load it, and the command \
      that makes it; and in one sentence the cheapest of those that are within 5 % of the fastest, \
      or that nothing is worth doing. On counts no router can be fitted. Only the page is written.

      EXAMPLES
        regate advise Qwen3-30B-A3B --calibration traffic.jsonl --ep 8,16,32
        regate advise Qwen3-30B-A3B --calibration traffic.jsonl --ep 8 \\
          --batch 64,512,8192 --html advice.html
        regate advise DeepSeek-V3 --counts sglang.pt --ep 32 --redundant 64
        regate advise model.gguf --calibration capture.safetensors --ep 4 --json
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    name: .customLong("ep"),
    help: ArgumentHelp(
      "Expert-parallel rank counts; each is looked at for itself.", valueName: "n,..."))
  var ranks: PositiveIntegers

  @OptionGroup(title: "The traffic") var load: LoadArguments
  @OptionGroup(title: "The traffic") var tokens: TokenArguments
  @OptionGroup(title: "The traffic") var running: RunArguments
  @OptionGroup(title: "The traffic") var seed: SeedArgument
  @OptionGroup(title: "The service") var batches: BatchArgument

  @Option(
    help: ArgumentHelp(
      "Redundant experts, those of all ranks together (default: one for each rank).",
      valueName: "n"))
  var redundant: Int?

  @Option(
    help: ArgumentHelp(
      "FLOP/s of a rank; default: dense BF16 of an H100 SXM.", valueName: "n"))
  var flops = Roofline.h100.flops

  @Option(
    help: ArgumentHelp(
      "Bytes/s of a rank's memory; default: an H100 SXM's.", valueName: "n"))
  var bandwidth = Roofline.h100.bandwidth

  @OptionGroup var page: PageArguments
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if load.files.isEmpty, load.counts.isEmpty {
      throw ValidationError("Give --calibration (text, token ids or a capture), or --counts.")
    }
    try load.requireUse(tokens, running, seed)
    for (name, value) in [("--flops", flops), ("--bandwidth", bandwidth)]
    where !(value > 0 && value.isFinite) {
      throw ValidationError("\(name) must be above 0, not \(value).")
    }
    if let redundant, !(1...65_536).contains(redundant) {
      throw ValidationError("--redundant must be between 1 and 65536, not \(redundant).")
    }
  }

  func run() throws {
    guard let request = load.request(tokens.options(running, seed: seed.seed)) else { return }
    let file = try page.file(
      checkpoints: [checkpoint], inputs: load.files + load.counts)
    let question = Advice.Request(
      checkpoint: checkpoint, load: request, ranks: ranks.values, batches: batches.sizes,
      redundant: redundant, roofline: Roofline(flops: flops, bandwidth: bandwidth),
      threads: common.threads)
    try common.show(writing: \.page, to: file) {
      try Advice.run(question, progress: $0, announce: common.announce)
    }
  }
}
