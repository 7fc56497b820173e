// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import RegateKit
import Reports

struct SweepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Show what balance costs, over strengths.",
    discussion: """
      Fits several strengths side by side in one read of the weights and judges each on tokens \
      that no fit saw: Gini and min/max against the rise of the loss (text or token ids) or the \
      output error (captures), and the knee of that curve. Only the page is written.

      EXAMPLES
        regate sweep Qwen3-30B-A3B --calibration traffic.jsonl --html sweep.html
        regate sweep model.gguf --calibration capture.safetensors --strengths 0.5,0.75,1 --json
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    help: ArgumentHelp(
      "Strengths to try, above 0 up to 1, ascending; each takes memory.", valueName: "s,..."))
  var strengths: Weights?

  @OptionGroup var fitting: FitArguments
  @OptionGroup var tokens: TokenArguments
  @OptionGroup var page: PageArguments
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if fitting.calibration.isEmpty { throw ValidationError("Give --calibration.") }
    if fitting.levers.place || !fitting.levers.route {
      throw ValidationError("A sweep is over --levers route, with or without clone.")
    }
    if let values = strengths?.values,
      values != values.sorted() || (values.last ?? 0) > 1
        || Set(values).count < values.count
    {
      throw ValidationError("--strengths must be different numbers above 0 up to 1, ascending.")
    }
  }

  func run() throws {
    let file = try page.file()
    let request = Sweep.Request(
      fitting.request(checkpoint, tokens: tokens, threads: common.threads),
      strengths: strengths?.values)
    if !common.json, !common.quiet, let memory = try Sweep.plan(request).memory {
      FileHandle.standardError.write(Data((memory + "\n").utf8))
    }
    let sweep = try Sweep.run(request, progress: ProgressLine(quiet: common.quiet))
    try file?.write(sweep.page)
    common.show(text: sweep.text, json: sweep.json)
  }
}
