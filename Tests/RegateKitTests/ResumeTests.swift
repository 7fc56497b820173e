// SPDX-License-Identifier: Apache-2.0
//
// Runs that are stopped after a save and continued: their output is the uninterrupted run's.

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

private enum Stopped {
  static let text = "stopped by the test"

  /// Saves after each layer, and fails after the save of that number (from 1).
  static func after(_ save: Int) -> ResumeOptions {
    let saves = Counter()
    var options = ResumeOptions(interval: 0)
    options.afterSave = { _ in saves.next() == save ? RegateError(.io, text) : nil }
    return options
  }

  private final class Counter: Sendable {
    private let count = Locked(0)

    func next() -> Int {
      count.withLock {
        $0 += 1
        return $0
      }
    }
  }
}

private func requireStopped(_ body: () throws -> Void) throws {
  let error = #expect(throws: RegateError.self) { try body() }
  try #require(error?.problem == Stopped.text)
}

/// Continues from each layer's end: nothing is done again, and less is saved.
private let resumed = ResumeOptions(resumes: true, interval: 0)

private struct Folder {
  let directory: TemporaryDirectory
  let model: TinyModel

  init(_ model: TinyModel) throws {
    self.model = model
    directory = try TemporaryDirectory()
  }

  func path(_ name: String) -> String { directory.path(name) }
  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

  func convert(
    to name: String, _ resume: ResumeOptions = .init(),
    _ change: (inout ConversionDraft) -> Void = { _ in }
  ) throws {
    var draft = ConversionDraft(
      model.path, calibration: [model.ids("calibration")], to: path(name))
    draft.sets.tokens = .init(length: 64, maxTokens: 1024)
    draft.resume = resume
    draft.settings.refinementSteps = 10
    change(&draft)
    _ = try draft.run()
  }

  func capture(to name: String, _ resume: ResumeOptions = .init()) throws {
    _ = try CaptureRun.run(
      CaptureRun.Request(
        checkpoint: model.path, calibration: [model.ids("heldout")], output: path(name),
        threads: 2, resume: resume))
  }

  func files(_ name: String) throws -> [String: Data] {
    try fileTree(directory.url.appending(path: name))
  }
}

@Test(arguments: [TinyModel.qwen3, .deepseek])
func `a resumed conversion writes the bytes of an uninterrupted one`(_ model: TinyModel) throws {
  let folder = try Folder(model)
  try folder.convert(to: "whole")
  #expect(!folder.exists("whole.regate-resume"))
  let whole = try folder.files("whole")
  // Two layers and the finished fit: three saves.
  for stop in 1...3 {
    let out = "out-\(stop)"
    try requireStopped { try folder.convert(to: out, Stopped.after(stop)) }
    #expect(folder.exists("\(out).regate-resume/state.json"))
    #expect(!folder.exists(out))
    try folder.convert(to: out, resumed)
    #expect(try folder.files(out) == whole)
    #expect(!folder.exists("\(out).regate-resume"))
  }
}

@Test func `a search resumes after any layer`() throws {
  let folder = try Folder(.qwen3)
  func change(_ request: inout ConversionDraft) {
    request.sets.tokens.maxTokens = 512
    request.budget = .targetGini(0.45)
  }
  try folder.convert(to: "whole") { change(&$0) }
  let whole = try folder.files("whole")
  for stop in 1...2 {
    let out = "out-\(stop)"
    try requireStopped { try folder.convert(to: out, Stopped.after(stop)) { change(&$0) } }
    try folder.convert(to: out, resumed) { change(&$0) }
    #expect(try folder.files(out) == whole)
  }
}

@Test func `a fit to captures resumes`() throws {
  let folder = try Folder(.qwen3)
  func change(_ request: inout ConversionDraft) {
    request.sets.files = [folder.model.data("heldout.capture.safetensors")]
  }
  try folder.convert(to: "whole") { change(&$0) }
  try requireStopped { try folder.convert(to: "out", Stopped.after(1)) { change(&$0) } }
  try folder.convert(to: "out", resumed) { change(&$0) }
  #expect(try folder.files("out") == folder.files("whole"))
}

@Test func `a resumed change in place keeps its state beside the checkpoint`() throws {
  let folder = try Folder(.qwen3)
  for name in ["whole", "out"] {
    try FileManager.default.copyItem(atPath: folder.model.path, toPath: folder.path(name))
  }
  func change(_ name: String, _ resume: ResumeOptions = .init()) throws {
    try folder.convert(to: name, resume) {
      $0.checkpoint = folder.path(name)
      $0.output = .checkpoint(.inPlace)
    }
  }
  try change("whole")
  let before = try folder.files("out")
  try requireStopped { try change("out", Stopped.after(1)) }
  #expect(try folder.files("out") == before)
  #expect(folder.exists("out.regate-resume/state.json"))
  let error = #expect(throws: RegateError.self) { try change("out") }
  #expect(error?.problem == "holds the state of an interrupted run")
  try change("out", resumed)
  #expect(!folder.exists("out.regate-resume"))
  #expect(
    try folder.files("out").filter { $0.key.hasSuffix(".safetensors") }
      == folder.files("whole").filter { $0.key.hasSuffix(".safetensors") })
  #expect(try folder.files("out")["model.safetensors"] != before["model.safetensors"])
}

@Test func `two captures to one output do not mix`() throws {
  let folder = try Folder(.qwen3)
  let state = folder.path("out.safetensors.regate-resume")
  try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: false)
  let other = try FolderLock(state)
  let error = #expect(throws: RegateError.self) { try folder.capture(to: "out.safetensors") }
  #expect(error?.code == .refused && error?.file == state)
  #expect(folder.exists("out.safetensors.regate-resume") && !folder.exists("out.safetensors"))
  withExtendedLifetime(other) {}
}

@Test(arguments: [TinyModel.qwen3, .deepseek], [1, 2])
func `a resumed capture is the uninterrupted one`(_ model: TinyModel, _ stop: Int) throws {
  let folder = try Folder(model)
  try folder.capture(to: "whole.safetensors")
  try requireStopped { try folder.capture(to: "out.safetensors", Stopped.after(stop)) }
  #expect(!folder.exists("out.safetensors"))
  try folder.capture(to: "out.safetensors", resumed)
  #expect(
    try Data(contentsOf: URL(filePath: folder.path("out.safetensors")))
      == Data(contentsOf: URL(filePath: folder.path("whole.safetensors"))))
  #expect(!folder.exists("out.safetensors.regate-resume"))
}

@Test(arguments: [1, 2])
func `a resumed validation reports the same`(_ stop: Int) throws {
  let folder = try Folder(.deepseek)
  try folder.convert(to: "out")
  func validate(_ resume: ResumeOptions) throws -> JSONValue {
    try Validation.run(
      Validation.Request(
        original: folder.model.path, patched: folder.path("out"),
        calibration: [folder.model.ids("heldout")], ranks: [2, 4], threads: 2, resume: resume)
    ).json
  }
  let whole = try validate(.init())
  try requireStopped { _ = try validate(Stopped.after(stop)) }
  // Another validation of the same pair neither uses the state nor takes it away.
  #expect(try validate(.init(interval: 0)) == whole)
  #expect(folder.exists("out.regate-resume/state.json"))
  #expect(try validate(resumed) == whole)
  #expect(!folder.exists("out.regate-resume"))
}

@Suite struct ResumeRefusalTests {
  private func message(_ body: () throws -> Void) -> String {
    let error = #expect(throws: RegateError.self) { try body() }
    return error?.description ?? ""
  }

  @Test func `a state is never used without being asked for`() throws {
    let folder = try Folder(.deepseek)
    try requireStopped { try folder.convert(to: "out", Stopped.after(1)) }
    let text = message { try folder.convert(to: "out") }
    #expect(text.contains("holds the state of an interrupted run; continue it with `resume`"))
    #expect(folder.exists("out.regate-resume/state.json"))
    try folder.convert(to: "out") { $0.overwrite = true }
    #expect(!folder.exists("out.regate-resume"))
    try folder.convert(to: "whole")
    #expect(try folder.files("out") == folder.files("whole"))
  }

  @Test func `a state of another run is refused by what differs`() throws {
    let folder = try Folder(.deepseek)
    try requireStopped { try folder.convert(to: "out", Stopped.after(1)) }
    let before = try folder.files("out.regate-resume")
    let cases: [(String, (inout ConversionDraft) -> Void)] = [
      ("seed 0 instead of 7", { $0.settings.seed = 7 }),
      ("strength 1.0 instead of 0.5", { $0.budget = .strength(0.5) }),
      ("clones true instead of false", { $0.settings.clones = false }),
      ("router lpr instead of stock", { $0.form = .stock }),
      ("another calibration set", { $0.sets.files = [folder.model.ids("heldout")] }),
      ("another calibration set", { $0.sets.tokens.maxTokens = 512 }),
      ("another checkpoint", { $0.checkpoint = TinyModel.qwen3.path }),
    ]
    for (fragment, change) in cases {
      let text = message {
        try folder.convert(to: "out", resumed) {
          change(&$0)
          if $0.checkpoint != folder.model.path { $0.sets.files = [folder.model.ids("heldout")] }
        }
      }
      #expect(text.contains("the interrupted run had ") && text.contains(fragment), "\(text)")
      #expect(text.contains("or remove"), "\(text)")
    }
    #expect(try folder.files("out.regate-resume") == before)
    #expect(!folder.exists("out"))
  }

  @Test func `a state of other weights with the same routers is refused, of a copy it is not`()
    throws
  {
    let folder = try Folder(.qwen3)
    let path = folder.path("model")
    try FileManager.default.copyItem(atPath: folder.model.path, toPath: path)
    func convert(_ resume: ResumeOptions) throws {
      try folder.convert(to: "out", resume) { $0.checkpoint = path }
    }
    try requireStopped { try convert(Stopped.after(1)) }
    // The sign of one attention weight in the middle, and nothing else.
    func flip() throws {
      let info = try SafetensorsFile(path: path + "/model.safetensors").tensors
        .first { $0.name == "model.layers.0.self_attn.q_proj.weight" }
      let range = try #require(info).range
      let file = try FileHandle(forUpdating: URL(filePath: path + "/model.safetensors"))
      let place = UInt64(range.lowerBound + range.count / 2 + 3)
      try file.seek(toOffset: place)
      let byte = try #require(try file.read(upToCount: 1)?.first)
      try file.seek(toOffset: place)
      try file.write(contentsOf: [byte ^ 0x80])
      try file.close()
    }
    try flip()
    #expect(message { try convert(resumed) }.contains("the interrupted run had another checkpoint"))
    #expect(folder.exists("out.regate-resume/state.json"))
    // Fetched again, byte for byte: only its times are others.
    try flip()
    try convert(resumed)
    #expect(folder.exists("out"))
  }

  @Test func `a folder of somebody else's in the place of the state is left alone`() throws {
    let folder = try Folder(.qwen3)
    try FileManager.default.createDirectory(
      atPath: folder.path("out.regate-resume"), withIntermediateDirectories: false)
    try folder.directory.write([1], to: "out.regate-resume/mine.txt")
    let before = try folder.files("")
    for overwrite in [false, true] {
      let text = message {
        try folder.convert(to: "out", .init(interval: 0)) { $0.overwrite = overwrite }
      }
      #expect(text.contains("is in the way") && text.contains("holds mine.txt"), "\(text)")
    }
    #expect(try folder.files("") == before)
  }

  @Test(arguments: ["hidden", "layer"])
  func `a state with one other bit is refused`(_ part: String) throws {
    let folder = try Folder(.deepseek)
    try requireStopped { try folder.convert(to: "out", Stopped.after(2)) }
    let (name, data) = try #require(
      try folder.files("out.regate-resume").first { $0.key.hasPrefix(part) })
    var bytes = [UInt8](data)
    bytes[bytes.count / 2 + 2] ^= 1
    try folder.directory.write(bytes, to: "out.regate-resume/" + name)
    let text = message { try folder.convert(to: "out", resumed) }
    #expect(text.contains("\(name): is not a state that Regate kept"), "\(text)")
    #expect(!folder.exists("out"))
  }

  @Test(arguments: ["hidden", "layer", "state"])
  func `a damaged state is refused`(_ part: String) throws {
    let folder = try Folder(.deepseek)
    try requireStopped { try folder.convert(to: "out", Stopped.after(2)) }
    let name = try #require(
      try folder.files("out.regate-resume").keys.first { $0.hasPrefix(part) })
    try folder.directory.write([0x7B], to: "out.regate-resume/" + name)
    let text = message { try folder.convert(to: "out", resumed) }
    #expect(text.contains(name), "\(text)")
    #expect(!folder.exists("out"))
  }

  @Test func `a state that names a file outside its folder is refused, and the file stays`() throws
  {
    let folder = try Folder(.deepseek)
    try requireStopped { try folder.convert(to: "out", Stopped.after(1)) }
    try folder.directory.write([1], to: "mine.bin")
    let path = folder.path("out.regate-resume/state.json")
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let forged = text.replacing(/hidden-[0-9]+\.bin/, with: "../mine.bin")
    try #require(forged != text)
    try folder.directory.write(Array(forged.utf8), to: "out.regate-resume/state.json")
    let said = message { try folder.convert(to: "out", resumed) }
    #expect(said.contains("is not a state that Regate kept"), "\(said)")
    #expect(folder.exists("mine.bin"))
  }

  /// As another run that makes the same output does when it ends.
  @Test func `a state that is removed meanwhile is not kept any more`() throws {
    let folder = try Folder(.deepseek)
    try folder.convert(to: "whole")
    let state = folder.path("out.regate-resume")
    var options = ResumeOptions(interval: 0)
    options.afterSave = { _ in
      try? FileManager.default.removeItem(atPath: state)
      return nil
    }
    try folder.convert(to: "out", options)
    #expect(!folder.exists("out.regate-resume"))
    #expect(try folder.files("out") == folder.files("whole"))
  }

  @Test func `a state without its records is refused`() throws {
    let folder = try Folder(.deepseek)
    try requireStopped { try folder.convert(to: "out", Stopped.after(2)) }
    let name = try #require(
      try folder.files("out.regate-resume").keys.first { $0.hasPrefix("layer") })
    try FileManager.default.removeItem(atPath: folder.path("out.regate-resume/" + name))
    let text = message { try folder.convert(to: "out", resumed) }
    #expect(text.contains("is not a state that Regate kept"), "\(text)")
  }

  @Test func `a validation on captures keeps no state, and says so`() throws {
    let folder = try Folder(.qwen3)
    let error = #expect(throws: RegateError.self) {
      try Validation.run(
        .init(
          original: folder.model.path, patched: folder.model.path,
          calibration: [folder.model.data("heldout.capture.safetensors")], threads: 2,
          resume: resumed))
    }
    #expect(error?.code == .refused && error?.subject == "`resume`")
  }

  @Test func `a fit whose target is out of reach leaves no state`() throws {
    let folder = try Folder(.qwen3)
    let text = message {
      try folder.convert(to: "out", .init(interval: 0)) { $0.budget = .targetGini(0) }
    }
    #expect(text.contains("was not reached"))
    #expect(try folder.files("").isEmpty)
  }
}
