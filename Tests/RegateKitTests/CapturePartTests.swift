// SPDX-License-Identifier: Apache-2.0
//
// Captures of several machines: the parts are the capture of one, whatever their number and order,
// and what is no whole set of parts is refused by name.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Tensors
import TestSupport
import Testing
import Traffic

private let sample = Sample.deepseekBF16Bias

/// A synthetic capture in parts, each with the entries that tell it.
private struct Parts {
  let bench: Workbench
  let paths: [String]

  /// So many tokens in each part.
  init(_ counts: [Int] = [300, 500, 480]) throws {
    bench = try Workbench(sample, tokens: counts.reduce(0, +))
    try FileManager.default.createDirectory(
      at: bench.folder("parts"), withIntermediateDirectories: true)
    var paths: [String] = []
    var start = 0
    for (place, count) in counts.enumerated() {
      paths.append(
        try Parts.write(bench, "\(place + 1)", start..<start + count, of: counts.count))
      start += count
    }
    self.paths = paths
  }

  /// Another part beside these, in the folder of the bench.
  func other(
    _ name: String = "other", part: String = "3/3",
    _ form: SyntheticModel.CaptureForm = .safetensorsF32, _ changed: [String: String] = [:]
  ) throws -> String {
    var metadata = Parts.metadata
    metadata["part"] = part
    metadata.merge(changed) { _, new in new }
    return try bench.model.writeCapture(
      form, to: bench.directory.url, name: name, tokens: 800..<1280,
      fingerprint: changed["model_fingerprint"] == nil ? fingerprint(bench.model) : nil,
      metadata: metadata)
  }

  private static let metadata = [
    "choice": String(repeating: "ab", count: 32), "length": "512", "max_tokens": "65536",
    "seed": "0", "ppl_protocol": "all",
  ]

  private static func write(
    _ bench: Workbench, _ name: String, _ tokens: Range<Int>, of count: Int
  ) throws -> String {
    var metadata = Parts.metadata
    metadata["part"] = "\(name)/\(count)"
    return try bench.model.writeCapture(
      to: bench.folder("parts"), name: name, tokens: tokens, fingerprint: fingerprint(bench.model),
      metadata: metadata)
  }
}

/// What a run reads of captures: which rows are held out, and the values.
private struct Read: Equatable {
  let fitted: [Int]
  let heldOut: [Int]
  let inputs: [[Float]]

  init(_ sample: TrafficSample, of bench: Workbench) throws {
    fitted = sample.fittedRows
    heldOut = sample.parts[0].heldOut
    guard case .captures(let captures) = sample.calibration else {
      inputs = []
      return
    }
    inputs = try bench.model.layers.map { try captures.inputs(layer: $0.index).values }
  }
}

@Test func `parts in any order, and their folder, are the whole capture`() throws {
  let parts = try Parts()
  let bench = parts.bench
  let model = try Model.open(bench.source)
  func read(_ files: [String]) throws -> (Read, [String]) {
    let sample = try TrafficSample(
      CalibrationSets(files), for: model, judged: true, progress: NoProgress())
    return (try Read(sample, of: bench), sample.names.calibration)
  }
  let (whole, _) = try read([bench.capture])
  #expect(whole.heldOut.count == 160 && whole.inputs.count == 2)
  let (folder, name) = try read([bench.directory.path("parts") + "/"])
  #expect(folder == whole && name == ["parts"])
  for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
    let (found, names) = try read(order.map { parts.paths[$0] })
    #expect(found == whole)
    #expect(names == ["1.safetensors", "2.safetensors", "3.safetensors"])
  }
}

@Test func `a fit names parts in their order, whatever the order that they were given in`() throws {
  let parts = try Parts()
  func fit(_ files: [String], _ name: String) throws -> Data {
    var draft = parts.bench.draft
    draft.sets.files = files
    draft.budget = .pruned(4)
    draft.form = .stock
    _ = try draft.fit(to: parts.bench.directory.path(name))
    return try parts.bench.bytes(name)
  }
  #expect(try fit(parts.paths, "1.fit") == fit(parts.paths.reversed(), "2.fit"))
}

@Test func `parts that judge or are protected are one set`() throws {
  let parts = try Parts()
  let bench = parts.bench
  let model = try Model.open(bench.source)
  let given = [bench.capture, parts.paths[1], parts.paths[2], parts.paths[0]]
  let judging = try TrafficSample(
    judging: given, for: model, options: .init(), progress: NoProgress())
  #expect(judging.parts.map(\.heldOut) == [Array(0..<1280), Array(1280..<2560)])
  let fitted = try TrafficSample(
    CalibrationSets([bench.capture], protected: given), for: model, judged: true,
    progress: NoProgress())
  #expect(fitted.parts.map(\.heldOut.count) == [160, 1280, 1280])
  #expect(
    fitted.names.protected == [
      "capture.safetensors", "1.safetensors", "2.safetensors", "3.safetensors",
    ])
}

@Test func `what is no whole set of parts of one capture is refused by name`() throws {
  let parts = try Parts()
  let bench = parts.bench
  let (first, second, third) = (parts.paths[0], parts.paths[1], parts.paths[2])
  func refusal(_ files: [String]) -> RegateError? {
    let error = #expect(throws: RegateError.self) {
      try Inspection.run(
        .init(checkpoint: bench.source, load: .traffic(files, .init()), threads: 2))
    }
    return error
  }
  let gap = refusal([third])
  #expect(gap?.code == .missing && gap?.file == third && gap?.subject == "part")
  #expect(gap?.problem == "is one of 3, and of these 1, 2 are not given")
  #expect(refusal([first, third])?.problem == "is one of 3, and of these 2 is not given")
  let many = refusal([try parts.other("many", part: "2/\(Int.max)")])
  #expect(
    many?.problem
      == "is one of \(Int.max), and of these 1, 3, 4, 5, 6, 7, 8, 9 and \(Int.max - 9) more are not given"
  )

  let overlap = refusal([first, second, third, try parts.other("again")])
  #expect(overlap?.file == bench.directory.path("again.safetensors"))
  #expect(overlap?.problem == "is 3/3, and so is \(third)")

  let count = refusal([first, second, try parts.other("four", part: "3/4")])
  #expect(count?.problem == "is 3/4, but \(first) is 1/3")

  let plain = refusal([first, bench.capture, second, third])
  #expect(plain?.file == bench.capture)
  #expect(plain?.problem == "is no part of a capture, but \(first) is one")

  let badly = refusal([first, second, try parts.other("badly", part: "4/3")])
  #expect(badly?.code == .malformed && badly?.subject == "part")

  for (key, value, problem) in [
    ("choice", "other", "was captured from other tokens than \(first)"),
    ("length", "64", "was cut into sequences of another length than \(first): 64 instead of 512"),
    (
      "max_tokens", "4096",
      "was chosen with another number of tokens than \(first): 4096 instead of 65536"
    ),
    ("seed", "1", "was chosen with another seed than \(first): 1 instead of 0"),
    (
      "ppl_protocol", "llama",
      "was cut for another protocol of perplexity than \(first): llama instead of all"
    ),
    (
      "compute_dtype", "bfloat16",
      "was captured in another `precision` than \(first): bfloat16 instead of nothing"
    ),
    (
      "weights_layout", "other",
      "was captured from weights that are stored otherwise than \(first): other instead of nothing"
    ),
    (
      "weights_sample", "other",
      "was captured with other weights than \(first): other instead of nothing"
    ),
    (
      "model_fingerprint", "other",
      "was captured from a model with other routers than \(first)"
    ),
  ] {
    let other = try parts.other(key, .safetensorsF32, [key: value])
    let error = refusal([first, second, other])
    #expect(error?.file == other && error?.subject == key, "\(key)")
    #expect(error?.problem == problem)
  }
  let narrow = try parts.other("narrow", .safetensorsBF16)
  let type = refusal([first, second, narrow])
  #expect(type?.subject == "dtype" && type?.problem.hasSuffix(": BF16 instead of F32") == true)
}

@Test func `a folder of captures in two forms is refused`() throws {
  let bench = try Workbench(sample, tokens: 64)
  let folder = try bench.model.writeCapture(.npyFolder, to: bench.directory.url, name: "both")
  _ = try bench.model.writeCapture(to: bench.folder("both"), name: "1")
  let error = #expect(throws: RegateError.self) {
    try Inspection.run(
      .init(checkpoint: bench.source, load: .traffic([folder], .init()), threads: 2))
  }
  #expect(error?.problem == "holds 1.safetensors and layers.1.router_input.npy")
}

@Suite struct CapturedPartTests {
  private static let model = TinyModel.qwen3

  private func capture(
    _ part: CapturePart?, to path: String, maxTokens: Int = 700
  ) throws -> CaptureRun {
    try CaptureRun.run(
      .init(
        checkpoint: Self.model.path, calibration: [Self.model.ids("calibration")], output: path,
        tokens: .init(maxTokens: maxTokens, seed: 3), part: part, type: .f32, threads: 2))
  }

  private func ids(_ path: String) throws -> [Int] {
    try ArrayContainer.open(path).array("token_ids").integers()
  }

  @Test(arguments: 1...4) func `n parts are the sequences of one capture`(_ count: Int) throws {
    let folder = try TemporaryDirectory()
    let whole = try capture(nil, to: folder.path("whole.safetensors"))
    #expect(whole.sequences == 10)
    let paths = (1...count).map { folder.path("\($0).safetensors") }
    let runs = try paths.enumerated().map {
      try capture(CapturePart($0 + 1, of: count), to: $1)
    }
    #expect(runs.map(\.sequences).reduce(0, +) == 10)
    #expect(runs.map(\.sequences).max() == (10 + count - 1) / count)
    #expect(runs.last?.json["part"] == .string("\(count)/\(count)"))
    #expect(try paths.flatMap(ids) == ids(whole.output))
    func load(_ files: [String]) throws -> [[Int]?] {
      try Inspection.run(
        .init(checkpoint: Self.model.path, load: .traffic(files, .init()), threads: 2)
      ).layers.map { $0.load?.load }
    }
    #expect(try load(paths.reversed()) == load([whole.output]))
  }

  @Test func `more parts than sequences, and shares that are none, are refused`() throws {
    let folder = try TemporaryDirectory()
    let error = #expect(throws: RegateError.self) {
      try capture(CapturePart(2, of: 3), to: folder.path("2.safetensors"), maxTokens: 130)
    }
    #expect(error?.description.contains("asks for 3 parts, but 2 sequences were chosen") == true)
    #expect(try fileTree(folder.url).isEmpty)
    for (number, count) in [(0, 2), (3, 2), (1, 0)] {
      #expect(throws: RegateError.self) { try CapturePart(number, of: count) }
    }
  }
}
