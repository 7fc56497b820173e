// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// Starts the tool, kills it once its state names layer 1 or a later one, and waits for its end.
private func kill(_ arguments: [String], whenSavedIn folder: String) throws {
  let process = Process()
  process.executableURL = URL(filePath: Tool.path)
  process.arguments = arguments
  process.standardInput = FileHandle.nullDevice
  process.standardOutput = FileHandle.nullDevice
  process.standardError = FileHandle.nullDevice
  try process.run()
  let state = URL(filePath: folder).appending(path: "state.json")
  while process.isRunning {
    let object =
      (try? Data(contentsOf: state)).flatMap { try? JSONSerialization.jsonObject(with: $0) }
    if let layer = (object as? [String: Any])?["layer"] as? Int, layer > 0 { break }
    Thread.sleep(forTimeInterval: 0.002)
  }
  #expect(process.isRunning, "the run ended before it could be killed: make it longer")
  Foundation.kill(process.processIdentifier, SIGKILL)
  process.waitUntilExit()
  #expect(process.terminationReason == .uncaughtSignal)
}

@Test func `a killed conversion continues with --resume`() throws {
  let scratch = try TemporaryDirectory()
  let model = TinyModel.qwen3.path
  let ids = try scratch.writeRandomIDs(8, length: 256, to: "ids.npy")
  let arguments = ["convert", model, "--calibration", ids, "--quiet", "--resume-every", "0"]
  let output = scratch.path("out")
  let folder = output + ".regate-resume"
  try kill(arguments + ["--output", output], whenSavedIn: folder)
  #expect(!FileManager.default.fileExists(atPath: output))

  let refused = try Tool.run(arguments + ["--output", output])
  requireRefusal(
    refused, naming: folder, says: "continue it with --resume", "without --resume")
  let other = try Tool.run(arguments + ["--output", output, "--resume", "--seed", "3"])
  requireRefusal(
    other, naming: folder, says: "--resume: the interrupted run had seed 0 instead of 3",
    "another seed")

  let resumed = try Tool.run(arguments + ["--output", output, "--resume", "--threads", "1"])
  #expect(resumed.code == 0, "\(resumed.error)")
  #expect(!FileManager.default.fileExists(atPath: folder))
  let whole = try Tool.run(arguments + ["--output", scratch.path("whole")])
  #expect(whole.code == 0, "\(whole.error)")
  #expect(
    try fileTree(URL(filePath: output)) == fileTree(URL(filePath: scratch.path("whole"))))
}

@Test func `a killed capture continues with --resume`() throws {
  let scratch = try TemporaryDirectory()
  let ids = try scratch.writeRandomIDs(24, length: 512, to: "ids.npy")
  let arguments = [
    "capture", TinyModel.qwen3.path, "--calibration", ids, "--quiet", "--resume-every", "0",
  ]
  let output = scratch.path("capture.safetensors")
  try kill(arguments + ["--output", output], whenSavedIn: output + ".regate-resume")
  #expect(!FileManager.default.fileExists(atPath: output))
  let resumed = try Tool.run(arguments + ["--output", output, "--resume"])
  #expect(resumed.code == 0, "\(resumed.error)")
  #expect(!FileManager.default.fileExists(atPath: output + ".regate-resume"))
  let whole = scratch.path("whole.safetensors")
  #expect(try Tool.run(arguments + ["--output", whole]).code == 0)
  #expect(
    try Data(contentsOf: URL(filePath: output)) == Data(contentsOf: URL(filePath: whole)))
}

@Test func `a run without a state starts at the first layer with --resume`() throws {
  let scratch = try TemporaryDirectory()
  let output = scratch.path("capture.safetensors")
  let model = TinyModel.mixtral
  let outcome = try Tool.run(
    "capture", model.path, "--calibration", model.ids("heldout"), "-o", output, "--resume", "-q")
  #expect(outcome.code == 0, "\(outcome.error)")
  #expect(FileManager.default.fileExists(atPath: output))
  #expect(!FileManager.default.fileExists(atPath: output + ".regate-resume"))
  let usage = try Tool.run(
    "capture", model.path, "--calibration", model.ids("heldout"), "-o", output, "--resume-every",
    "-1")
  #expect(usage.code == 2)
}
