// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit
import Reports

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show a checkpoint's routers, and how even its expert load is.",
    discussion: """
      Reads headers and routers only, whatever the size of the checkpoint. Load comes from \
      running the model on text or token ids, from captured activations, or from llama.cpp's \
      importance matrix.

      EXAMPLES
        regate inspect Mixtral-8x7B-v0.1
        regate inspect model.gguf --imatrix model.imatrix.gguf --ep 2,4,8
        regate inspect Qwen3-30B-A3B --calibration traffic.jsonl --max-tokens 16384
        regate inspect Qwen3-30B-A3B --calibration capture.safetensors --json
        regate inspect Qwen3-30B-A3B --calibration capture.safetensors --html routers.html
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    name: .customLong("calibration"),
    help: ArgumentHelp(
      "Text (.txt, .jsonl, .gz), token ids (.npy, .npz, .safetensors) or captured activations to "
        + "count the load on. Repeatable.", valueName: "file"))
  var calibration: [String] = []

  @Option(
    help: ArgumentHelp(
      "llama.cpp importance matrix (GGUF) to take the load from.", valueName: "file"))
  var imatrix: String?

  @Option(help: "Seed of the choice among more sequences than --max-tokens allows.")
  var seed: UInt64 = 0

  @Option(
    name: .customLong("ep"),
    help: ArgumentHelp("Expert-parallel rank counts to report imbalance for.", valueName: "n,..."))
  var ranks: RankCounts?

  @OptionGroup var mtp: MTPArguments
  @OptionGroup var page: PageArguments
  @OptionGroup var tokens: TokenArguments
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if imatrix != nil, !calibration.isEmpty {
      throw ValidationError("Give either --calibration or --imatrix.")
    }
  }

  func run() throws {
    let file = try page.file()
    var request = Inspection.Request(
      checkpoint: checkpoint, calibration: calibration, tokens: tokens.options(seed: seed),
      imatrix: imatrix, ranks: ranks?.values ?? [], threads: common.threads)
    request.mtp = mtp.includes
    let inspection = try Inspection.run(request, progress: ProgressLine(quiet: common.quiet))
    try file?.write(inspection.page)
    common.show(text: inspection.text, json: inspection.json)
  }
}
