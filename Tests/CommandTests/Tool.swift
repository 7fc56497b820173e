// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

/// Runs the built `regate` as a user would.
enum Tool {
  /// The built tool beside the bundle of these tests: `swift test` builds both.
  static let path: String = {
    let bundle = CommandLine.arguments.compactMap(Self.bundle).first
    return (bundle ?? URL(filePath: CommandLine.arguments[0])).deletingLastPathComponent()
      .appending(path: "regate").path(percentEncoded: false)
  }()

  /// The test bundle that `argument` names or names a file of: on Linux it is the program that
  /// runs, elsewhere an argument of the program that loads it.
  private static func bundle(_ argument: String) -> URL? {
    var url = URL(filePath: argument).standardizedFileURL
    while url.pathComponents.count > 1 {
      if url.pathExtension == "xctest" { return url }
      url.deleteLastPathComponent()
    }
    return nil
  }

  /// Whether the variants that take long run too: `tools/soak.sh` sets it.
  static let soaks = ProcessInfo.processInfo.environment["REGATE_SOAK"] == "1"

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

  /// Runs the tool; `shell` is what a shell does before it becomes the tool.
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
    try start(process)
    process.waitUntilExit()
    try output.close()
    try error.close()
    let code = process.terminationStatus
    return Outcome(
      code: process.terminationReason == .exit ? code : -code,
      output: try String(contentsOf: scratch.url.appending(path: "output"), encoding: .utf8),
      error: try String(contentsOf: scratch.url.appending(path: "error"), encoding: .utf8))
  }

  /// With no signal blocked, as from a shell: threads of tests block them, and a child inherits
  /// that.
  private static func start(_ process: Process) throws {
    var (none, before) = (sigset_t(), sigset_t())
    unsafe sigemptyset(&none)
    unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
  }

  private static func handle(_ scratch: TemporaryDirectory, _ name: String) throws -> FileHandle {
    try scratch.write([], to: name)
    return try FileHandle(forWritingTo: scratch.url.appending(path: name))
  }
}

/// A refusal: code 1, one line on standard error beside warnings, nothing on standard output.
func requireRefusal(
  _ outcome: Tool.Outcome, naming path: String?, says fragment: String, _ label: String,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(outcome.code == 1, "\(label): \(outcome.error)", sourceLocation: sourceLocation)
  #expect(outcome.output.isEmpty, "\(label)", sourceLocation: sourceLocation)
  let lines = outcome.errorLines.filter { !$0.hasPrefix("warning: ") }
  #expect(
    lines.count == 1 && lines[0].hasPrefix("regate: "),
    "\(label): \(outcome.error)", sourceLocation: sourceLocation)
  #expect(
    outcome.error.contains(fragment), "\(label): \(outcome.error)", sourceLocation: sourceLocation)
  // Fields of the library's requests are named as options.
  #expect(
    outcome.error.firstMatch(of: /`[a-zA-Z]+`/) == nil, "\(label): \(outcome.error)",
    sourceLocation: sourceLocation)
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

  /// A fit file of this model, in every form that it can have.
  func fit(_ name: String = "my.fit") throws -> String {
    let path = path(name)
    try Fits.of(model.family).get().write(to: URL(filePath: path))
    return path
  }
}

/// Fits that tests share: each is made once, of few tokens, which takes most of its time where the
/// tool is built without optimisation.
private enum Fits {
  private static let mixtral = make(.mixtral, "lpr-official")
  private static let qwen3 = make(.qwen3, "lpr-official")
  private static let deepseek = make(.deepseek, "stock")

  static func of(_ family: SyntheticModel.Family) -> Result<Data, any Error> {
    switch family {
    case .mixtral: mixtral
    case .qwen3: qwen3
    case .deepseek: deepseek
    }
  }

  private static func make(
    _ family: SyntheticModel.Family, _ router: String
  ) -> Result<Data, any Error> {
    Result {
      let bench = try Bench(family)
      let few = try bench.model.writeCapture(to: bench.folder, name: "few", tokens: 0..<64)
      let outcome = try Tool.run(
        "fit", bench.source, "--calibration", few, "--output", bench.path("my.fit"), "--router",
        router, "--refine", "0", "--json", "-q")
      #expect(outcome.code == 0, "\(outcome.error)")
      let layers = try outcome.json()["layers"] as? [[String: Any]] ?? []
      let clones = layers.reduce(0) { $0 + ($1["clones"] as? Int ?? 0) }
      #expect(clones > 0, "\(family): no expert would be written")
      return try Data(contentsOf: bench.folder.appending(path: "my.fit"))
    }
  }
}
