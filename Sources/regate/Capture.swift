// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import Inference
public import RegateKit
import Reports
import Tensors

struct Capture: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a model on text and record what its routers read.",
    discussion: """
      Streams the checkpoint layer by layer: each weight is read once, memory holds one layer's \
      activations, and no GPU or Python is needed. The capture file serves inspect, fit, convert, \
      place and validate.

      EXAMPLES
        regate capture Qwen3-30B-A3B --calibration traffic.jsonl -o my.safetensors
        regate capture model.gguf --calibration corpus.txt.gz \\
          --max-tokens 16384 --output my.safetensors
        regate capture Qwen3-30B-A3B --calibration traffic.jsonl --part 2/4 \\
          -o parts/2.safetensors
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    name: .customLong("calibration"),
    help: ArgumentHelp(
      "Text (.txt, .jsonl, .json, .gz) or token ids (.npy, .npz, .safetensors). Repeatable.",
      valueName: "file"))
  var calibration: [String]

  @Option(name: .shortAndLong, help: ArgumentHelp("Capture file to write.", valueName: "file"))
  var output: String

  @Option(
    help: ArgumentHelp(
      "Capture the i-th of n shares of the sequences; --calibration then takes all n captures, or "
        + "their folder, as one.", valueName: "i/n"))
  var part: CapturePart?

  @Flag(help: "Record F32 instead of BF16: twice the size, and exact.")
  var float32 = false

  @Option(
    help: ArgumentHelp(
      "Positions that the printed NLL counts: all, or llama-perplexity's.",
      valueName: "all|llama"))
  var pplProtocol = PerplexityProtocol.all

  @Flag(help: "Replace a capture that exists already.")
  var overwrite = false

  @OptionGroup var tokens: TokenArguments
  @OptionGroup var running: RunArguments
  @OptionGroup var seed: SeedArgument
  @OptionGroup var resuming: ResumeArguments
  @OptionGroup var interval: ResumeInterval
  @OptionGroup var common: CommonOptions

  func run() throws {
    var options = tokens.options(running, seed: seed.seed)
    options.perplexity = pplProtocol
    let request = CaptureRun.Request(
      checkpoint: checkpoint, calibration: calibration, output: output, tokens: options,
      part: part, type: float32 ? .f32 : .bf16, threads: common.threads, overwrite: overwrite,
      resume: resuming.options(interval))
    try common.show { try CaptureRun.run(request, progress: $0) }
  }
}

extension PerplexityProtocol: ExpressibleByArgument {}

extension CapturePart: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
