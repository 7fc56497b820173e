// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit

struct SweepCommand: CommonCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Show what balance costs, over strengths.",
    discussion: """
      Fits several strengths side by side in one pass over the weights and judges each on tokens \
      that no fit saw: Gini and min/max against the rise of the loss (text or token ids) or the \
      output error (captures), and the knee of that curve. Only the page is written.

      EXAMPLES
        regate sweep Qwen3-30B-A3B --calibration traffic.jsonl --html sweep.html
        regate sweep model.gguf --calibration capture.safetensors \\
          --strengths 0.5,0.75,1 --json
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    help: ArgumentHelp(
      "Strengths to try, above 0 up to 1, ascending; each takes memory.", valueName: "s,..."))
  var strengths: PositiveNumbers?

  @OptionGroup(title: "The fits") var calibration: CalibrationArguments
  @OptionGroup(title: "The fits") var tokens: TokenArguments
  @OptionGroup(title: "The fits") var running: RunArguments
  @OptionGroup(title: "The fits") var router: RouterArgument
  @OptionGroup(title: "The fits") var tuning: TuningArguments
  @OptionGroup(title: "The fits") var seed: SeedArgument
  @OptionGroup var page: PageArguments
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if calibration.files.isEmpty { throw ValidationError("Give --calibration.") }
    if let values = strengths?.values,
      values != values.sorted() || (values.last ?? 0) > 1 || Set(values).count < values.count
    {
      throw ValidationError("--strengths must be different numbers above 0 up to 1, ascending.")
    }
  }

  func run() throws {
    let file = try page.file(
      checkpoints: [checkpoint], inputs: calibration.files + calibration.protected)
    let request = Sweep.Request(
      checkpoint: checkpoint,
      calibration: calibration.sets(tokens.options(running, seed: seed.seed)),
      strengths: strengths?.values ?? Sweep.strengths, settings: tuning.settings(seed),
      form: router.router, threads: common.threads)
    try common.show(writing: \.page, to: file) {
      try Sweep.run(request, progress: $0, announce: common.announce)
    }
  }
}
