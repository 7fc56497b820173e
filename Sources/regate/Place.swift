// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit

struct Place: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Renumber experts so that expert-parallel ranks carry equal load (lossless).",
    discussion: """
      The model computes what it did; only the numbers of its experts change, and with them the \
      rank that holds each. Any checkpoint will do, also one that regate convert wrote. With --map, \
      no checkpoint is written but a map for a runtime that moves the experts itself: \
      sglang, tensorrt-llm, ascend (vLLM-Ascend), or eplb (the arrays of DeepSeek's EPLB). Figures \
      are on an eighth of the tokens, which the placement has not seen.

      EXAMPLES
        regate place Qwen3-30B-A3B --calibration traffic.jsonl --ep 8 --output placed
        regate place model.gguf --counts model.imatrix.gguf --ep 2,4,8 -o placed.gguf
        regate place Qwen3-30B-A3B --counts load.gguf --ep 8 --redundant 16 -o out
        regate place DeepSeek-V3 --calibration capture.safetensors --ep 64 \\
          --nodes 8 --redundant 32 --map sglang:experts.json
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    name: .customLong("ep"),
    help: ArgumentHelp(
      "Expert-parallel rank counts to balance together; a map is for the largest.",
      valueName: "n,..."))
  var ranks: PositiveIntegers

  @OptionGroup(title: "The load") var load: LoadArguments
  @OptionGroup(title: "The load") var tokens: TokenArguments
  @OptionGroup(title: "The load") var running: RunArguments
  @OptionGroup(title: "The load") var seed: SeedArgument

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Directory (safetensors) or .gguf file to write.", valueName: "path"))
  var output: String?

  @Option(help: ArgumentHelp("Write only what changes, for regate apply.", valueName: "file"))
  var delta: String?

  @Flag(help: "Change the checkpoint's own files; regate revert takes it back.")
  var inPlace = false

  @Option(
    help: ArgumentHelp(
      "Write a map for sglang, tensorrt-llm, ascend or eplb.",
      valueName: "runtime:file"))
  var map: RuntimeMap?

  @Option(
    help: ArgumentHelp(
      "Redundant experts: in the map, or those that vLLM starts with.", valueName: "n"))
  var redundant = 0

  @Option(help: ArgumentHelp("Machines that the ranks of the map are on.", valueName: "n"))
  var nodes = 1

  @Flag(help: "Hard-link files of --output that do not differ.")
  var link = false

  @Flag(help: "Replace an output of Regate that exists already.")
  var overwrite = false

  @OptionGroup var mtp: MTPArguments
  @OptionGroup var common: CommonOptions

  func validate() throws {
    guard outputs.count == 1 else {
      throw ValidationError("Give one of --output, --delta, --in-place and --map.")
    }
    if load.files.isEmpty, load.counts.isEmpty {
      throw ValidationError("Give --calibration (text, token ids or a capture), or --counts.")
    }
    try load.requireUse(tokens, running, seed)
    if map == nil, nodes != 1 { throw ValidationError("--nodes goes with --map.") }
    if link, output == nil { throw ValidationError("--link goes with --output.") }
    if overwrite, inPlace {
      throw ValidationError("--overwrite goes with --output, --delta or --map.")
    }
    guard (0...65_536).contains(redundant) else {
      throw ValidationError("--redundant must be between 0 and 65536, not \(redundant).")
    }
    guard nodes > 0 else { throw ValidationError("--nodes must be 1 or more, not \(nodes).") }
  }

  private var outputs: [PlacementRun.Output] {
    [
      output.map { .checkpoint(.copy(to: $0, links: link, overwrite: overwrite)) },
      delta.map { .checkpoint(.delta(to: $0, overwrite: overwrite)) },
      inPlace ? .checkpoint(.inPlace) : nil,
      map.map { .map($0.format, to: $0.path, machines: nodes, overwrite: overwrite) },
    ].compactMap { $0 }
  }

  func run() throws {
    guard let request = load.request(tokens.options(running, seed: seed.seed)) else { return }
    let placement = PlacementRun.Request(
      checkpoint: checkpoint, load: request, ranks: ranks.values, output: outputs[0],
      redundant: redundant, mtp: mtp.includes, threads: common.threads)
    try common.show { try PlacementRun.run(placement, progress: $0) }
  }
}

/// `FORMAT:FILE`.
struct RuntimeMap: ExpressibleByArgument {
  let format: ExpertMapFormat
  let path: String

  init?(argument: String) {
    let parts = argument.split(separator: ":", maxSplits: 1)
    guard parts.count == 2, let format = ExpertMapFormat(rawValue: String(parts[0])) else {
      return nil
    }
    self.format = format
    path = String(parts[1])
  }
}
