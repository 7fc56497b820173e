// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit
import Reports

struct Inspect: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show a checkpoint's routers, and how even its expert load is.",
    discussion: """
      Reads headers and routers only, whatever the size of the checkpoint. Load comes from \
      running the model on text or token ids, from captured activations, or from counts that a \
      runtime made. Several files of counts are compared.

      EXAMPLES
        regate inspect Mixtral-8x7B-v0.1
        regate inspect model.gguf --counts model.imatrix.gguf --ep 2,4,8
        regate inspect Qwen3-30B-A3B --counts code.csv --counts chat.csv
        regate inspect Qwen3-30B-A3B --calibration traffic.jsonl --max-tokens 16384
        regate inspect Qwen3-30B-A3B --calibration capture.safetensors --json
        regate inspect Qwen3-30B-A3B --calibration traffic.jsonl --html load.html
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @OptionGroup(title: "The load") var load: LoadArguments
  @OptionGroup(title: "The load") var tokens: TokenArguments
  @OptionGroup(title: "The load") var running: RunArguments
  @OptionGroup(title: "The load") var seed: SeedArgument

  @Option(
    name: .customLong("ep"),
    help: ArgumentHelp("Expert-parallel rank counts to report imbalance for.", valueName: "n,..."))
  var ranks: PositiveIntegers?

  @OptionGroup var mtp: MTPArguments
  @OptionGroup var page: PageArguments
  @OptionGroup var common: CommonOptions

  func validate() throws {
    try load.requireUse(tokens, running, seed)
    if ranks != nil, load.counts.isEmpty, load.files.isEmpty {
      throw ValidationError("--ep goes with --calibration or --counts.")
    }
  }

  func run() throws {
    let file = try page.file(
      checkpoints: [checkpoint], inputs: load.files + load.counts)
    let request = Inspection.Request(
      checkpoint: checkpoint, load: load.request(tokens.options(running, seed: seed.seed)),
      ranks: ranks?.values ?? [], mtp: mtp.includes, threads: common.threads)
    try common.show(writing: \.page, to: file) {
      try Inspection.run(request, progress: $0)
    }
  }
}
