// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import ByteStorage
import Foundation
public import RegateKit

extension FileAccess: ExpressibleByArgument {}

@main
struct Regate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "regate",
    abstract: "Give an existing Mixture-of-Experts checkpoint a balanced router.",
    discussion: """
      Reads safetensors and GGUF checkpoints of Mixtral, Qwen, DeepSeek and the README's other \
      families, fits a balanced router to your traffic and writes a patched copy. \
      The original is never touched.

      EXAMPLES
        regate inspect Qwen3-30B-A3B --calibration traffic.jsonl --ep 8
        regate advise Qwen3-30B-A3B --calibration traffic.jsonl --ep 8,16
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl --output balanced
        regate validate Qwen3-30B-A3B balanced --calibration heldout.jsonl

      EXIT CODES
        0 done; 1 failed, or a target or threshold was not met; 2 usage
      """,
    subcommands: [
      Inspect.self, Advise.self, Capture.self, Fit.self, Convert.self, Place.self, Validate.self,
      SweepCommand.self, CheckCommand.self, Apply.self, Revert.self,
    ])

  // A flag of its own, so that the help of every command does not list it.
  @Flag(help: "Show the version.")
  var version = false

  func run() throws {
    guard version else { throw CleanExit.helpRequest(self) }
    try StandardStream.output.write(Array("\(RegateVersion.current)\n".utf8), "the version")
  }

  /// Like ArgumentParser's `main()`, with this tool's exit codes and one-line errors.
  static func main() {
    FreedMemory.returnAtOnce()
    StandardStream.reserveClosed()
    FileWriter.throwAtSizeLimit()
    // Even the program's name is one.
    guard !CommandLine.arguments.isEmpty else {
      fail(
        RegateError(
          .io, file: "/proc/self/cmdline", "cannot be read, and the arguments stand there",
          advice: "mount /proc"))
    }
    do {
      var command = try parseAsRoot()
      let access = (command as? any BasicCommand)?.basic.io ?? .map
      try FileAccess.$current.withValue(access) { try command.run() }
    } catch let error as RegateError {
      fail(error)
    } catch {
      let message = fullMessage(for: error)
      let code = exitCode(for: error)
      guard code == .success else {
        if !message.isEmpty { StandardStream.say(message + "\n") }
        Foundation.exit(code == .validationFailure ? 2 : 1)
      }
      do throws(RegateError) {
        try StandardStream.output.write(Array((message + "\n").utf8), "the help")
      } catch {
        fail(error)
      }
    }
  }

  private static func fail(_ error: RegateError) -> Never {
    StandardStream.say("regate: \(OptionNames.spelled(error.description))\n")
    Foundation.exit(1)
  }
}
