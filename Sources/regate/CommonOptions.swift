// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Checkpoints
import Foundation
import RegateKit

/// Options that every command has.
struct CommonOptions: ParsableArguments {
  @Flag(help: "Print one JSON object on standard output instead of tables.")
  var json = false

  @Flag(name: .shortAndLong, help: "No progress on standard error.")
  var quiet = false

  @Option(help: "Threads; the result does not depend on it.")
  var threads = ProcessInfo.processInfo.activeProcessorCount

  func validate() throws {
    guard (1...1024).contains(threads) else {
      throw ValidationError("--threads must be between 1 and 1024, not \(threads)")
    }
  }

  /// Prints a report to standard output in the form that was asked for.
  func show(text: String, json value: JSONValue) {
    let bytes = json ? value.serialised(.pretty) : Array(text.utf8) + [0x0A]
    FileHandle.standardOutput.write(Data(bytes))
  }
}

/// The option on layers of multi-token prediction.
struct MTPArguments: ParsableArguments {
  @Flag(
    name: .customLong("mtp"),
    help: ArgumentHelp(
      "Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone "
        + "otherwise. Needs captures that hold them; convert writes them with --router stock."))
  var includes = false
}

/// Options on the page that a command can write.
struct PageArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("Write the report as a self-contained page.", valueName: "file.html"))
  var html: String?

  @Flag(help: "Replace a file at --html that is no page of Regate.")
  var overwrite = false

  func validate() throws {
    if overwrite, html == nil { throw ValidationError("--overwrite goes with --html.") }
  }

  /// The page's place, checked before the work; nil without.
  func file() throws -> PageFile? { try html.map { try PageFile($0, overwrite: overwrite) } }
}

/// Options of long runs on how their state is kept.
struct ResumeArguments: ParsableArguments {
  @Flag(
    help: ArgumentHelp(
      "Continue an interrupted run from the state that it kept in a folder beside the output, "
        + "named with .regate-resume added."))
  var resume = false

  @Option(
    help: ArgumentHelp(
      "Seconds of work between two saves of that state.", valueName: "seconds"))
  var resumeEvery = 60.0

  func validate() throws {
    guard resumeEvery >= 0 else {
      throw ValidationError("--resume-every must be 0 or more, not \(resumeEvery).")
    }
  }

  var options: ResumeOptions { ResumeOptions(resumes: resume, interval: resumeEvery) }
}

/// A comma-separated list of expert-parallel rank counts.
struct RankCounts: ExpressibleByArgument {
  let values: [Int]

  init?(argument: String) {
    let values = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    guard !values.isEmpty, values.allSatisfy({ ($0 ?? 0) > 0 }) else { return nil }
    self.values = values.compactMap { $0 }
  }
}
