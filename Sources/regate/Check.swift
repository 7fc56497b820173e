// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import RegateKit

struct CheckCommand: BasicCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Say which runtimes will load a checkpoint, and what they would leave out.",
    discussion: """
      Reads headers only. Every statement names its source, and whether it was seen by running that \
      runtime (verified) or only read (unverified). "not checked" is no verdict. The exit code is 1 \
      where a --target does not load the checkpoint, leaves something out or starts it at random.

      EXAMPLES
        regate check Qwen3-30B-A3B
        regate check balanced --target vllm,llama.cpp
      """)

  @Argument(help: "A checkpoint directory, a .safetensors file, or a .gguf file (split or not).")
  var checkpoint: String

  @Option(
    help: ArgumentHelp(
      "Runtimes that must load it: vllm, sglang, transformers, llama.cpp, mlx.",
      valueName: "runtime,..."))
  var target: RuntimeList?

  @Flag(name: .shortAndLong, help: "Print no report: with --target the exit code says it.")
  var quiet = false

  @OptionGroup var basic: BasicOptions

  func run() throws {
    let check = try Check.run(
      Check.Request(checkpoint: checkpoint, runtimes: target?.runtimes ?? Runtime.allCases))
    if !quiet { try basic.show(check) }
    if target != nil, check.outcomes.contains(where: { ($0.level ?? .note) >= .drops }) {
      throw ExitCode(1)
    }
  }
}

/// A comma-separated list of serving runtimes.
struct RuntimeList: ExpressibleByArgument {
  let runtimes: [Runtime]

  init?(argument: String) {
    let words = argument.split(separator: ",", omittingEmptySubsequences: false)
    let found = words.map { Runtime(rawValue: String($0)) }
    guard !found.isEmpty, !found.contains(nil) else { return nil }
    runtimes = found.compactMap { $0 }
  }
}
