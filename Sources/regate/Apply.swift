// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit
import Reports

struct Apply: CommonCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a converted or renumbered checkpoint from a delta and the original.",
    discussion: """
      Checks that the original is the one that the delta was made of, and every written file \
      against its hash. An output is complete or not there.

      EXAMPLES
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl --delta my.delta
        regate apply my.delta Qwen3-30B-A3B --output balanced
      """)

  @Argument(help: "A delta that regate convert or place --delta wrote.")
  var delta: String

  @Argument(help: "The checkpoint that the delta was made of.")
  var checkpoint: String

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Directory (safetensors) or .gguf file to write.", valueName: "path"))
  var output: String

  @Flag(help: "Replace an output of Regate that exists already.")
  var overwrite = false

  @OptionGroup var common: CommonOptions

  func run() throws {
    let request = DeltaApplication.Request(
      delta: delta, checkpoint: checkpoint, output: output, overwrite: overwrite,
      threads: common.threads)
    try common.show { try DeltaApplication.run(request, progress: $0) }
  }
}
