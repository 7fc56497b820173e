// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import ByteStorage
import Checkpoints
package import RegateKit
import Reports

/// Options that every command has.
struct BasicOptions: ParsableArguments {
  @Flag(help: "Print one JSON object instead of tables.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "How files are read: map, or read on a network file system.", valueName: "way",
      visibility: .hidden))
  var io = FileAccess.map

  /// Prints a report to standard output in the form that was asked for. As JSON it holds, beside
  /// its own warnings, those `warned` of on the way, which may be lost where standard error is.
  func show(_ report: some Report, warned: [String] = []) throws(RegateError) {
    let bytes =
      json
      ? OptionNames.spelled(Self.json(report, warned)).serialised(.pretty).harmlessJSON
      : Array(OptionNames.spelled(report.text).harmless(lines: true).utf8) + [0x0A]
    try StandardStream.output.write(bytes, "the report")
  }

  private static func json(_ report: some Report, _ warned: [String]) -> JSONValue {
    var json = report.json
    var all = json["warnings"]?.arrayValue ?? []
    all += warned.map { .string($0) }.filter { !all.contains($0) }
    json["warnings"] = .array(all)
    return json
  }
}

/// Options of every command that reads more than headers.
struct CommonOptions: ParsableArguments {
  @OptionGroup var basic: BasicOptions

  @Flag(name: .shortAndLong, help: "No progress on standard error, only warnings.")
  var quiet = false

  @Option(
    name: .customLong("progress"),
    help: ArgumentHelp(
      "How progress is told on standard error: text, or json, one object a line.",
      valueName: "form", visibility: .hidden))
  var progressForm = ProgressForm.text

  @Option(help: ArgumentHelp("Threads; the result does not depend on it.", valueName: "n"))
  var threads = Threads.all

  func validate() throws {
    guard (1...1024).contains(threads) else {
      throw ValidationError("--threads must be between 1 and 1024, not \(threads)")
    }
  }

  /// Does the work of a command under a progress line and prints what it reports.
  @discardableResult
  func show<R: Report>(_ work: (ProgressLine) throws -> R) throws -> R {
    let progress = ProgressLine(quiet: quiet, form: progressForm)
    let report = try work(progress)
    try basic.show(report, warned: progress.warnings)
    return report
  }

  /// The same; before it is printed, `page` of the report goes to `file`, with what was warned of
  /// on the way.
  @discardableResult
  func show<R: Report>(
    writing page: (R) -> Page, to file: PageFile?, _ work: (ProgressLine) throws -> R
  ) throws -> R {
    try show { progress in
      let report = try work(progress)
      if let file {
        var page = page(report)
        page.append(warnings: progress.warnings)
        try file.write(page, spelled: OptionNames.spelled)
      }
      return report
    }
  }

  /// Says something before long work begins.
  func announce(_ text: String) {
    guard !basic.json, !quiet, progressForm == .text else { return }
    StandardStream.say(OptionNames.spelled(text).harmless(lines: true) + "\n")
  }
}

/// A command with the options that every command has.
protocol BasicCommand: ParsableCommand {
  var basic: BasicOptions { get }
}

/// A command that reads more than headers.
protocol CommonCommand: BasicCommand {
  var common: CommonOptions { get }
}

extension CommonCommand {
  var basic: BasicOptions { common.basic }
}

extension ProgressLine: ProgressSink {}

extension ProgressForm: ExpressibleByArgument {}

/// The option on layers of multi-token prediction.
struct MTPArguments: ParsableArguments {
  @Flag(
    name: .customLong("mtp"),
    help: ArgumentHelp(
      "Include the layers of multi-token prediction (DeepSeek-V3's last), which are left alone "
        + "otherwise; needs captures that hold them."))
  var includes = false
}

/// Options on the page that a command can write.
struct PageArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp("Write the report as a self-contained page.", valueName: "file.html"))
  var html: String?

  @Flag(help: "Replace a page of Regate at --html.")
  var overwrite = false

  func validate() throws {
    if overwrite, html == nil { throw ValidationError("--overwrite goes with --html.") }
  }

  /// The page's place, checked before the work on what is given; nil without.
  func file(checkpoints: [String], inputs: [String]) throws -> PageFile? {
    try html.map {
      try PageFile($0, overwrite: overwrite, checkpoints: checkpoints, inputs: inputs)
    }
  }
}

/// Continuing a long run.
struct ResumeArguments: ParsableArguments {
  @Flag(
    help: ArgumentHelp(
      "Continue an interrupted run from the state that it kept beside the output (validate: beside "
        + "PATCHED)."))
  var resume = false

  func options(_ interval: ResumeInterval) -> ResumeOptions {
    ResumeOptions(resumes: resume, interval: interval.resumeEvery)
  }

  /// Whether nothing differs from the defaults.
  func isStandard(_ interval: ResumeInterval) -> Bool { !resume && interval.isStandard }
}

/// How often a long run keeps its state.
struct ResumeInterval: ParsableArguments {
  @Option(
    help: ArgumentHelp("Seconds of work between two saves of that state.", valueName: "seconds"))
  var resumeEvery = Self.standard

  private static let standard = 60.0

  var isStandard: Bool { resumeEvery == Self.standard }

  func validate() throws {
    guard resumeEvery >= 0, resumeEvery.isFinite else {
      throw ValidationError("--resume-every must be 0 or more, not \(resumeEvery).")
    }
  }
}

/// The batches that rank figures are told for.
struct BatchArgument: ParsableArguments {
  @Option(
    name: .customLong("batch"),
    help: ArgumentHelp(
      "Tokens of a batch, all ranks of --ep together (default: \(Self.standard)).",
      valueName: "n,..."))
  var given: PositiveIntegers?

  private static let standard =
    RankBatches.standardSizes.map(String.init).joined(separator: ",")

  var sizes: [Int] { given?.values ?? RankBatches.standardSizes }
}
