// SPDX-License-Identifier: Apache-2.0
//
// What the tool says of itself: help, its examples, and the names of its options in messages.

import Foundation
import TestSupport
import Testing

/// What the tool says of itself.
enum Help {
  static let commands = [
    "inspect", "advise", "capture", "fit", "convert", "place", "validate", "sweep", "check",
    "apply",
    "revert",
  ]

  static func text(_ arguments: String...) throws -> String {
    let outcome = try Tool.run(arguments)
    #expect(outcome.code == 0)
    #expect(outcome.error.isEmpty)
    return outcome.output
  }

  /// The lines that begin an option.
  static func options(_ text: String) -> [Substring] {
    text.split(separator: "\n").filter { $0.hasPrefix("  -") }
  }

  /// The command lines under EXAMPLES, as someone would paste them from a terminal of 80 columns: a
  /// line goes on where it ends in a backslash.
  static func examples(_ text: String) -> [[String]] {
    let lines = text.replacing("\\\n", with: " ").split(
      separator: "\n", omittingEmptySubsequences: false)
    return lines.drop { $0 != "EXAMPLES" }.prefix { !$0.isEmpty }.dropFirst().map {
      $0.split(separator: " ").map(String.init)
    }
  }
}

@Test(arguments: Help.commands)
func `help of a command shows examples that name it`(_ command: String) throws {
  for text in [try Help.text(command, "--help"), try Help.text("help", command)] {
    let lines = text.split(separator: "\n").map(String.init)
    #expect(lines.contains("EXAMPLES"))
    #expect(lines.contains { $0.hasPrefix("  regate \(command) ") })
    #expect(lines.contains { $0.hasPrefix("USAGE: regate \(command)") })
    let takesTraffic = !["check", "apply", "revert"].contains(command)
    #expect(text.contains("--json"))
    #expect(!takesTraffic || text.contains("--calibration"))
    // Headers are read at once.
    #expect(text.contains("--threads") == (command != "check"))
    #expect(text.contains("--quiet"))
  }
}

@Test func `help of convert is short, and fit's tells the rest`() throws {
  let text = try Help.text("convert", "--help")
  #expect(Help.options(text).count <= 24)
  let whole = try Help.text("convert", "--help-hidden")
  let fit = try Help.text("fit", "--help")
  for option in [
    "--encoder", "--similarity", "--latent", "--refine", "--no-clones", "--mtp", "--length",
    "--resume-every",
  ] {
    #expect(!text.contains(option), "\(option)")
    #expect(whole.contains(option), "\(option)")
    #expect(fit.contains(option), "\(option)")
  }
}

@Test(arguments: [[]] + Help.commands.map { [$0] })
func `examples of a help can be run`(_ command: [String]) throws {
  let outcome = try Tool.run(command + ["--help"])
  let examples = Help.examples(outcome.output)
  #expect(!examples.isEmpty)
  // Their files are not there: anything but a misuse.
  let scratch = try TemporaryDirectory()
  for example in examples {
    #expect(example.first == "regate", "\(example)")
    let outcome = try Tool.run(Array(example.dropFirst()), in: scratch.url)
    #expect(outcome.code == 1, "\(example): \(outcome.error)")
    #expect(outcome.error.hasPrefix("regate: "), "\(example): \(outcome.error)")
  }
  #expect(try fileTree(scratch.url).isEmpty)
}

/// The sources of the tool and its library.
private enum Sources {
  static let folder = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Sources", directoryHint: .isDirectory)

  static func text(_ path: String) throws -> String {
    try String(contentsOf: folder.appending(path: path), encoding: .utf8)
  }

  /// Pieces of string literals in the library, which has no words of the tool.
  static func literals() throws -> [String] {
    let paths = try FileManager.default.subpathsOfDirectory(
      atPath: folder.path(percentEncoded: false))
    return try paths.filter { $0.hasSuffix(".swift") && !$0.hasPrefix("regate/") }.flatMap { path in
      try text(path).split(separator: "\n").map { String($0.drop { $0 == " " }) }
        .filter { !$0.hasPrefix("//") }
        .flatMap { line in
          line.split(separator: "\"", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 1 }.map { String($0.element) }
        }
    }
  }
}

@Test func `a message of the library names a type instead of a command`() throws {
  for literal in try Sources.literals() {
    let words = literal.matches(of: /regate ([a-z]+)/).map { String($0.1) }
    #expect(!words.contains(where: Help.commands.contains), "\(literal)")
  }
}

@Test func `every name in a message is known as an option or a command`() throws {
  let table = try Sources.text("regate/OptionNames.swift").matches(
    of: /"([a-zA-Z]+)": "([^"]+)"/)
  let known = Dictionary(uniqueKeysWithValues: table.map { (String($0.1), String($0.2)) })
  #expect(known["maxLossIncrease"] == "--max-loss-increase")
  let named = try Sources.literals().flatMap {
    $0.matches(of: /`([a-zA-Z]+)`/).map { String($0.1) }
  }
  #expect(Set(named).count > 20)
  #expect(Set(named).subtracting(known.keys) == [])
  #expect(known["Reversion"] == "regate revert")
  // The tables name no options or commands that there are not.
  let help = try Help.commands.map { try Help.text($0, "--help-hidden") }.joined()
  for (field, words) in known {
    for option in words.matches(of: /--[a-z-]+/).map({ String($0.output) }) {
      #expect(help.contains(option), "\(field)")
    }
    for command in words.matches(of: /regate ([a-z]+)/).map({ String($0.1) }) {
      #expect(Help.commands.contains(command), "\(field)")
    }
  }
}
