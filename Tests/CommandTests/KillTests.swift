// SPDX-License-Identifier: Apache-2.0
//
// Conversions, reverts and deltas that are killed, through the built tool: a few kills each, and
// campaigns of many where `tools/soak.sh` runs the tests.

import Foundation
import TestSupport
import Testing

extension Bench {
  /// What lies in the source, without leftovers that a kill may leave under hidden names.
  fileprivate func sourceTree() throws -> [String: Data] {
    try fileTree(folder.appending(path: "source")).filter { !$0.key.contains(".partial") }
  }
}

extension Tool {
  /// Starts the tool and kills it after `delay` seconds, if it still runs then.
  fileprivate static func kill(_ arguments: [String], after delay: Double) throws {
    try kill(arguments) { _ in Thread.sleep(forTimeInterval: delay) }
  }

  /// Starts the tool and kills it as soon as a file or folder of this name lies in `folder`, if it
  /// still runs then.
  fileprivate static func kill(
    _ arguments: [String], onceThereIs name: String, in folder: URL
  ) throws {
    let path = folder.path(percentEncoded: false)
    try kill(arguments) { process in
      while process.isRunning {
        let names = try FileManager.default.contentsOfDirectory(atPath: path)
        if names.contains(where: { $0.hasSuffix(name) && !$0.contains(".partial") }) { break }
        Thread.sleep(forTimeInterval: 0.001)
      }
    }
  }

  /// Starts the tool, and kills it when `wait` returns.
  private static func kill(
    _ arguments: [String], wait: (Process) throws -> Void
  ) throws {
    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    try wait(process)
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}

/// A checkpoint, and what is done to it when it is killed.
private struct Killed: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let bench: @Sendable () throws -> Bench
  /// Options of the conversion beside its output and a fit; nil: renumbered by the capture.
  let options: [String]?

  init(
    _ label: String, _ options: [String]? = [], _ bench: @escaping @Sendable () throws -> Bench
  ) {
    testDescription = label
    self.options = options
    self.bench = bench
  }

  /// The arguments that make a conversion of what `bench` made.
  fileprivate func arguments(_ bench: Bench) throws -> [String] {
    guard let options else {
      return ["place", bench.source, "--calibration", bench.capture, "--ep", "2,4,8", "-q"]
    }
    return ["convert", bench.source, "--fit", try bench.fit(), "-q"] + options
  }
}

/// How often each is killed.
private let rounds = Tool.soaks ? 50 : 3

private let inPlace = [
  Killed("safetensors") { try Bench(.qwen3, .init(.byLayer)) },
  Killed("fused experts") { try Bench(.mixtral, .init(.single, fused: true)) },
  Killed("a selection bias") { try Bench(.deepseek, .init(.byLayer, bias: .f32)) },
  Killed("GGUF") { try Bench(gguf: .init(.q8_0), .qwen3) },
  Killed("GGUF in two files") { try Bench(gguf: .init(.f16, split: true), .deepseek) },
  Killed("renumbered", nil) { try Bench(.qwen3, .init(.byLayer)) },
]

private let outputs = [
  Killed("lpr") { try Bench(.qwen3, .init(.byLayer)) },
  Killed("lpr-official", ["--router", "lpr-official"]) { try Bench(.qwen3, .init(.byLayer)) },
  Killed("lpr-official, one file", ["--router", "lpr-official"]) {
    try Bench(.mixtral, .init(.single))
  },
  Killed("stock, linked", ["--router", "stock", "--link"]) {
    try Bench(.deepseek, .init(.byLayer))
  },
  Killed("GGUF in two files") { try Bench(gguf: .init(.f16, split: true), .deepseek) },
]

@Suite struct KillTests {
  @Test(.serialized, arguments: inPlace)
  fileprivate func `a conversion in place that is killed at any moment can be taken back`(
    _ killed: Killed
  ) throws {
    let bench = try killed.bench()
    let convert = try killed.arguments(bench) + ["--in-place"]
    let source = try bench.sourceTree()
    let start = ContinuousClock.now
    #expect(try Tool.run(convert).code == 0)
    let whole = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
    #expect(try bench.sourceTree() != source)
    #expect(try Tool.run("revert", bench.source, "-q").code == 0)
    #expect(try bench.sourceTree() == source)
    var random = SeededGenerator(seed: 31)
    var changed = 0
    for number in 0..<rounds {
      if number == 0 {
        // At least this one comes after the undo file.
        try Tool.kill(
          convert, onceThereIs: "undo.delta", in: bench.folder.appending(path: "source"))
      } else {
        try Tool.kill(convert, after: Double.random(in: 0...whole * 1.1, using: &random))
      }
      let undo = try bench.sourceTree().keys.contains { $0.hasSuffix("undo.delta") }
      if undo {
        changed += 1
        // Reverting can be killed too.
        try Tool.kill(
          ["revert", bench.source, "-q"], after: Double.random(in: 0...whole, using: &random))
        let again = try Tool.run("revert", bench.source, "-q")
        #expect(again.code == 0 || again.error.contains("it was reverted"), "\(again.error)")
      }
      #expect(try bench.sourceTree() == source)
    }
    #expect(changed > 0, "no kill came after the undo file")
  }

  @Test(.serialized, arguments: outputs)
  fileprivate func `an output that is killed is whole or not there`(_ killed: Killed) throws {
    let bench = try killed.bench()
    let convert = try killed.arguments(bench)
    let gguf = bench.source.hasSuffix(".gguf")
    /// A GGUF output gets a folder, so that its files are all of the output.
    func output(_ name: String) throws -> String {
      guard gguf else { return bench.path(name) }
      try FileManager.default.createDirectory(
        atPath: bench.path(name), withIntermediateDirectories: true)
      return bench.path(name + "/model.gguf")
    }
    func tree(_ name: String) throws -> [String: Data] {
      try fileTree(bench.folder.appending(path: name)).filter { !$0.key.contains(".partial") }
    }
    let source = try bench.sourceTree()
    let start = ContinuousClock.now
    #expect(try Tool.run(convert + ["--output", output("good")]).code == 0)
    let time = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
    let good = try tree("good")
    /// What is under the final name: readers find an output by its folder, or by its first file.
    func requireWholeOrAbsent(_ name: String) throws {
      let found = try gguf || bench.exists(name) ? tree(name) : [:]
      let isThere = gguf ? found.keys.contains { $0.contains("00001-of") } : !found.isEmpty
      if isThere { #expect(found == good, "\(name)") }
    }
    var random = SeededGenerator(seed: 32)
    for number in 0..<rounds {
      let name = "out-\(number)"
      try Tool.kill(
        convert + ["--output", output(name)],
        after: Double.random(in: 0...time * 1.1, using: &random))
      try requireWholeOrAbsent(name)
      // Whatever is left is not in the way of another try, nor of replacing what is there.
      let again = convert + ["--output", try output(name), "--overwrite"]
      try Tool.kill(again, after: Double.random(in: 0...time * 1.1, using: &random))
      try requireWholeOrAbsent(name)
      if number == rounds - 1 {
        #expect(try Tool.run(again).code == 0)
        #expect(try tree(name) == good)
      }
    }
    #expect(try bench.sourceTree() == source)
  }

  @Test func `a delta or what is made of it that is killed is whole or not there`() throws {
    let bench = try Bench(.qwen3, .init(.byLayer))
    let fit = try bench.fit()
    func write(_ name: String) -> [String] {
      ["convert", bench.source, "--fit", fit, "--delta", bench.path(name), "-q"]
    }
    func apply(_ name: String) -> [String] {
      ["apply", bench.path("good.delta"), bench.source, "--output", bench.path(name), "-q"]
    }
    let start = ContinuousClock.now
    #expect(try Tool.run(write("good.delta")).code == 0)
    #expect(try Tool.run(apply("good")).code == 0)
    let time = Double((ContinuousClock.now - start) / .milliseconds(1)) / 2000
    let delta = try Data(contentsOf: bench.folder.appending(path: "good.delta"))
    let good = try fileTree(bench.folder.appending(path: "good"))
    let source = try bench.sourceTree()
    var random = SeededGenerator(seed: 33)
    for number in 0..<rounds {
      let (file, folder) = ("\(number).delta", "out-\(number)")
      try Tool.kill(write(file), after: Double.random(in: 0...time * 1.1, using: &random))
      if bench.exists(file) {
        #expect(try Data(contentsOf: bench.folder.appending(path: file)) == delta)
      }
      try Tool.kill(apply(folder), after: Double.random(in: 0...time * 1.1, using: &random))
      if bench.exists(folder) {
        #expect(try fileTree(bench.folder.appending(path: folder)) == good)
      }
    }
    #expect(try bench.sourceTree() == source)
  }
}
