// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

/// Runs the built `regate` as a user would.
enum Tool {
  /// `.build/release/regate`, from this file's place; `tools/test.sh` builds it.
  static let path = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: ".build/release/regate").path(percentEncoded: false)

  /// What a run left behind.
  struct Outcome: Sendable {
    /// Exit code; negative for the number of the signal that ended it.
    let code: Int32
    let output: String
    let error: String

    /// Lines of standard error.
    var errorLines: [String] {
      error.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
    }

    /// Standard output as one JSON object.
    func json() throws -> [String: Any] {
      let value = try JSONSerialization.jsonObject(with: Data(output.utf8))
      return try #require(value as? [String: Any])
    }
  }

  static func run(_ arguments: String..., in folder: URL? = nil) throws -> Outcome {
    try run(arguments, in: folder)
  }

  /// Runs the tool, or `program` with the tool's path and arguments after its own.
  static func run(
    _ arguments: [String], in folder: URL? = nil, through shell: String? = nil
  ) throws -> Outcome {
    // Files, not pipes: nothing can block.
    let scratch = try TemporaryDirectory()
    let process = Process()
    if let shell {
      process.executableURL = URL(filePath: "/bin/sh")
      process.arguments = ["-c", shell + "\nexec \"$0\" \"$@\"", path] + arguments
    } else {
      process.executableURL = URL(filePath: path)
      process.arguments = arguments
    }
    process.currentDirectoryURL = folder ?? scratch.url
    let output = try handle(scratch, "output")
    let error = try handle(scratch, "error")
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = error
    try process.run()
    process.waitUntilExit()
    try output.close()
    try error.close()
    let code = process.terminationStatus
    return Outcome(
      code: process.terminationReason == .exit ? code : -code,
      output: try String(contentsOf: scratch.url.appending(path: "output"), encoding: .utf8),
      error: try String(contentsOf: scratch.url.appending(path: "error"), encoding: .utf8))
  }

  private static func handle(_ scratch: TemporaryDirectory, _ name: String) throws -> FileHandle {
    try scratch.write([], to: name)
    return try FileHandle(forWritingTo: scratch.url.appending(path: name))
  }
}

/// A refusal: code 1, one line on standard error, nothing on standard output.
func requireRefusal(
  _ outcome: Tool.Outcome, naming path: String?, says fragment: String, _ label: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(outcome.code == 1, "\(label): \(outcome.error)", sourceLocation: sourceLocation)
  #expect(outcome.output.isEmpty, "\(label)", sourceLocation: sourceLocation)
  #expect(
    outcome.errorLines.count == 1 && outcome.error.hasPrefix("regate: "),
    "\(label): \(outcome.error)", sourceLocation: sourceLocation)
  #expect(
    outcome.error.contains(fragment), "\(label): \(outcome.error)", sourceLocation: sourceLocation)
  if let path {
    #expect(
      outcome.error.contains(path), "\(label): \(outcome.error)", sourceLocation: sourceLocation)
  }
}

/// A model on disk with a capture, in a folder of its own.
struct Bench {
  let directory = Result { try TemporaryDirectory() }
  let model: SyntheticModel
  let folder: URL
  let source: String
  let capture: String

  /// A safetensors directory.
  init(
    _ family: SyntheticModel.Family = .qwen3, _ layout: SyntheticModel.Layout = .init(.byLayer),
    tokens: Int = 512
  ) throws {
    folder = try directory.get().url
    model = SyntheticModel(family, tokens: tokens)
    try model.writeSafetensors(layout, to: folder.appending(path: "source"))
    source = folder.appending(path: "source").path(percentEncoded: false)
    capture = try model.writeCapture(to: folder)
  }

  /// A GGUF file.
  init(gguf layout: SyntheticModel.GGUFLayout, _ family: SyntheticModel.Family) throws {
    folder = try directory.get().url
    model = SyntheticModel(family, tokens: 512)
    source = try model.writeGGUF(layout, to: folder.appending(path: "source"))
    capture = try model.writeCapture(to: folder)
  }

  func path(_ name: String) -> String { folder.appending(path: name).path(percentEncoded: false) }

  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

  @discardableResult
  func convert(_ arguments: String...) throws -> Tool.Outcome {
    try Tool.run(["convert", source] + arguments)
  }
}
