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
      Reads safetensors and GGUF checkpoints of the Mixtral, Qwen3-MoE and DeepSeek families, \
      fits a prototype router to your traffic and writes a patched copy. \
      The original is never touched.

      EXAMPLES
        regate inspect Qwen3-30B-A3B --calibration traffic.jsonl --ep 8
        regate convert Qwen3-30B-A3B --calibration traffic.jsonl --output balanced
        regate validate Qwen3-30B-A3B balanced --calibration heldout.jsonl

      EXIT CODES
        0 done; 1 failed, or a target or threshold was not met; 2 usage
      """,
    subcommands: [
      Inspect.self, Capture.self, Fit.self, Convert.self, Place.self, Validate.self,
      SweepCommand.self, CheckCommand.self, Apply.self, Revert.self,
    ])

  // A flag of its own, so that the help of every command does not list it.
  @Flag(help: "Show the version.")
  var version = false

  func run() throws {
    guard version else { throw CleanExit.helpRequest(self) }
    print(RegateVersion.current)
  }

  /// Like ArgumentParser's `main()`, with this tool's exit codes and one-line errors.
  static func main() {
    FreedMemory.returnAtOnce()
    do {
      var command = try parseAsRoot()
      let access = (command as? any BasicCommand)?.basic.io ?? .map
      try FileAccess.$current.withValue(access) { try command.run() }
    } catch let error as RegateError {
      FileHandle.standardError.write(
        Data("regate: \(OptionNames.spelled(error.description))\n".utf8))
      Foundation.exit(1)
    } catch {
      let message = fullMessage(for: error)
      let code = exitCode(for: error)
      let stream = code == .success ? FileHandle.standardOutput : .standardError
      if !message.isEmpty { stream.write(Data("\(message)\n".utf8)) }
      Foundation.exit(code == .success ? 0 : (code == .validationFailure ? 2 : 1))
    }
  }
}
