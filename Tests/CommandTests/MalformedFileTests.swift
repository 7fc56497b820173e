// SPDX-License-Identifier: Apache-2.0
//
// Every malformed file that the readers' tests know, given to the tool: each must end with code 1
// and one line that names the file and the fault.

import Foundation
import TestSupport
import Testing

/// One case for the tool.
private struct Case: Sendable {
  let label: String
  let fragment: String
  /// Builds the files and returns the tool's arguments and the path that must be named.
  let build: @Sendable (TemporaryDirectory) throws -> (arguments: [String], path: String)
}

/// Runs one case in a directory of its own, in which nothing may appear.
private func requireRefusal(_ entry: Case) throws {
  let directory = try TemporaryDirectory()
  let (arguments, path) = try entry.build(directory)
  let manager = FileManager.default
  let before = try manager.subpathsOfDirectory(atPath: directory.path("")).sorted()
  let outcome = try Tool.run(arguments, in: directory.url)
  requireRefusal(outcome, naming: path, says: entry.fragment, entry.label)
  let after = try manager.subpathsOfDirectory(atPath: directory.path("")).sorted()
  #expect(after == before, "\(entry.label)")
}

/// Runs all cases, two at a time.
private func requireRefusals(_ cases: [Case]) async throws {
  let workers = 2
  try await withThrowingTaskGroup(of: Void.self) { group in
    for worker in 0..<workers {
      group.addTask {
        for number in stride(from: worker, to: cases.count, by: workers) {
          try requireRefusal(cases[number])
        }
      }
    }
    try await group.waitForAll()
  }
}

/// The folder's own path, without the slash at its end: messages name the files in it.
private func stem(_ path: String) -> String {
  path.hasSuffix("/") ? String(path.dropLast()) : path
}

@Test func `malformed safetensors files, indexes and configurations`() async throws {
  let cases = (MalformedCase.safetensors + MalformedCase.checkpoints).map { malformed in
    Case(label: malformed.name, fragment: malformed.fragment) {
      let path = try malformed.build(in: $0)
      return (["inspect", path], stem(path))
    }
  }
  // A missing path is refused before any reader is asked.
  let readers = cases.filter { $0.label != "nothing there" }
  #expect(readers.count >= 100)
  #expect(readers.contains { $0.label == "file name above, hidden" })
  try await requireRefusals(readers)
}

@Test func `malformed GGUF files`() async throws {
  let cases = GGUFCase.malformed.map { malformed in
    Case(label: malformed.name, fragment: malformed.message ?? "") {
      let path = try malformed.build($0)
      return (["inspect", path], $0.path(""))
    }
  }
  #expect(cases.count >= 70)
  try await requireRefusals(cases)
}

/// Faults in values, which are not reached: arrays are refused by what they are before.
private let unreached = [
  "integer above Int": "[sequences, tokens]",
  "wrong CRC": "where token ids are integers",
  "wrong CRC of a deflated member": "where token ids are integers",
]

@Test func `malformed captures`() async throws {
  let bench = try Bench()
  let source = bench.source
  // A file that no suffix makes one of arrays is text.
  let cases = MalformedCase.arrays.filter { $0.name != "file of another kind" }.map { malformed in
    Case(label: malformed.name, fragment: unreached[malformed.name] ?? malformed.fragment) {
      let path = try malformed.build(in: $0)
      return (
        ["convert", source, "--calibration", path, "--output", $0.path("out"), "--quiet"],
        stem(path)
      )
    }
  }
  #expect(cases.count >= 40)
  try await requireRefusals(cases)
}

@Test func `captures of another model`() async throws {
  let bench = try Bench()
  let source = bench.source
  let hidden = bench.model.hidden
  func capture(_ label: String, says fragment: String, _ arrays: [(String, [Int])]) -> Case {
    Case(label: label, fragment: fragment) {
      let members = arrays.map { name, shape in
        ZipMember(
          name + ".npy",
          npyBytes(
            npyDictionary("<f4", "(" + shape.map { "\($0), " }.joined() + ")"),
            data: [UInt8](repeating: 0, count: 4 * shape.reduce(1, *))))
      }
      let path = try $0.write(zipBytes(members), to: "capture.npz")
      return (["inspect", source, "--calibration", path, "--json"], path)
    }
  }
  let first = "layers.0.router_input"
  let second = "layers.1.router_input"
  try await requireRefusals([
    capture("no arrays", says: "no such array, and no layers.N.router_input either", []),
    capture("one layer only", says: "\(second): no such array", [(first, [8, hidden])]),
    capture(
      "other hidden size", says: "expected [tokens, 64]", [(first, [8, 65]), (second, [8, 65])]),
    capture("three dimensions", says: "has shape [1, 8, 64]", [(first, [1, 8, hidden])]),
    capture("no tokens", says: "has 0 tokens, expected 1 or more", [(first, [0, hidden])]),
    capture(
      "unequal tokens", says: "has 9 tokens, expected 8",
      [(first, [8, hidden]), (second, [9, hidden])]),
  ])
}

@Test func `captures with values that are not finite`() async throws {
  let bench = try Bench(tokens: 32)
  var model = bench.model
  model.layers[1].inputs[70] = -.infinity
  let path = try model.writeCapture(to: bench.folder, name: "infinite")
  let source = bench.source
  try await requireRefusals(
    ["inspect", "convert"].map { command in
      Case(label: command, fragment: "token 1 has a value of -inf") {
        let output = command == "convert" ? ["--output", $0.path("out"), "-q"] : []
        return ([command, source, "--calibration", path] + output, path)
      }
    })
}
