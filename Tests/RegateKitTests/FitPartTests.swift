// SPDX-License-Identifier: Apache-2.0
//
// A fit of some layers is a part, and parts of all layers join into the bytes of one run; what does
// not belong together is refused by name.

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

/// MoE layers 1, 2, and 3 for multi-token prediction.
private let sample = Sample.deepseekBF16Bias

extension Workbench {
  fileprivate init(parted tokens: Int = 192) throws {
    try self.init(.deepseekBF16Bias, tokens: tokens, mtpLayers: 1)
  }

  /// Writes a part, or a whole fit, and returns its path.
  @discardableResult
  fileprivate func write(
    _ layers: LayerPart?, _ name: String, _ change: (inout ConversionDraft) -> Void = { _ in }
  ) throws -> String {
    var draft = draft
    // No router is fitted, which is most of the time.
    draft.budget = .pruned(4)
    draft.form = .stock
    draft.settings.mtp = true
    draft.settings.refinementSteps = 0
    draft.layers = layers
    change(&draft)
    return try #require(try draft.fit(to: directory.path(name)).output)
  }

  @discardableResult
  fileprivate func merge(_ parts: [String], _ name: String) throws -> FitMerge {
    try FitMerge.run(.init(parts: parts, output: directory.path(name)))
  }
}

@Test func `parts in any order join into the bytes of one run`() throws {
  let bench = try Workbench(parted: 256)
  try bench.write(nil, "whole.fit")
  let shares = try (1...3).map { try bench.write(.share($0, of: 3), "share-\($0).fit") }
  let merged = try bench.merge([shares[1], shares[2], shares[0]], "shares.fit")
  #expect(merged.layers == [1, 2, 3] && merged.parts == 3)
  #expect(try bench.bytes("shares.fit") == bench.bytes("whole.fit"))
  let ranges = [
    try bench.write(.range(2...3), "2-3.fit"), try bench.write(.range(0...1), "0-1.fit"),
  ]
  try bench.merge(ranges, "ranges.fit")
  #expect(try bench.bytes("ranges.fit") == bench.bytes("whole.fit"))
  try bench.merge([bench.write(.range(0...3), "all.fit")], "one.fit")
  #expect(try bench.bytes("one.fit") == bench.bytes("whole.fit"))
}

@Test func `parts with routers of every form join as well`() throws {
  let bench = try Workbench(.qwen3, tokens: 64)
  func fit(_ layers: LayerPart?, _ name: String) throws -> String {
    try bench.write(layers, name) {
      $0.budget = .strength(1)
      $0.settings.mtp = false
      $0.settings.latentForm = .init(encoder: .gaussian, similarity: .kullbackLeibler)
      $0.form = .lprOfficial
    }
  }
  _ = try fit(nil, "whole.fit")
  try bench.merge([fit(.range(1...1), "1.fit"), fit(.range(0...0), "0.fit")], "merged.fit")
  #expect(try bench.bytes("merged.fit") == bench.bytes("whole.fit"))
  try bench.convert(to: "out") {
    $0.fit = bench.directory.path("merged.fit")
    $0.form = .stock
  }
}

@Test func `a part is no fit`() throws {
  let bench = try Workbench(parted: 192)
  let path = try bench.write(.range(1...2), "part.fit")
  func refusal(_ change: (inout ConversionDraft) -> Void) -> RegateError? {
    let error = #expect(throws: RegateError.self) { try bench.convert(to: "out", change) }
    #expect(!FileManager.default.fileExists(atPath: bench.output("out")))
    return error
  }
  let file = refusal { $0.fit = path }
  #expect(file?.code == .refused && file?.file == path)
  #expect(file?.problem == "is a part of a fit, with layers 1-2")
  #expect(file?.advice == "join all parts with `FitMerge`, and give what that writes")
  #expect(throws: RegateError.self) { try ModelFit.read(path, for: bench.source) }

  var draft = bench.draft
  draft.budget = .pruned(4)
  draft.form = .stock
  draft.settings.mtp = true
  draft.layers = .share(1, of: 2)
  let part = try draft.fit()
  #expect(part.json["part"] == .bool(true) && part.fit.layerIndices == [1, 2])
  let error = #expect(throws: RegateError.self) {
    try Conversion.run(
      .init(
        checkpoint: bench.source, source: .fit(part.fit),
        output: .checkpoint(.copy(to: bench.output("out")))))
  }
  #expect(error?.problem == "is a part of a fit, of some layers")
}

@Test func `what is not all parts of one fit is refused by name`() throws {
  let bench = try Workbench(parted: 192)
  let parts = try (1...3).map { try bench.write(.range($0...$0), "\($0).fit") }
  func refusal(_ parts: [String]) -> RegateError? {
    let error = #expect(throws: RegateError.self) { try bench.merge(parts, "merged.fit") }
    #expect(!FileManager.default.fileExists(atPath: bench.directory.path("merged.fit")))
    return error
  }
  let gap = refusal([parts[1]])
  #expect(gap?.code == .missing && gap?.subject == "layers 1, 3")
  #expect(gap?.problem == "are in none of the parts")

  let wide = try bench.write(.range(2...3), "wide.fit")
  let overlap = refusal([parts[0], parts[1], wide])
  #expect(overlap?.file == wide && overlap?.subject == "layer 2")
  #expect(overlap?.problem == "is in \(parts[1]) too")

  let whole = try bench.write(nil, "whole.fit")
  #expect(refusal([parts[0], whole])?.problem == "is a whole fit, and no part of one")
  #expect(refusal([])?.code == .missing)

  func other(
    _ name: String, _ difference: String, _ change: (inout ConversionDraft) -> Void
  ) throws {
    let other = try bench.write(.range(2...3), name, change)
    let error = refusal([parts[0], other])
    #expect(error?.code == .mismatch && error?.file == other)
    #expect(error?.problem == "is of another fit than \(parts[0]): \(difference)", "\(name)")
  }
  try other("seed.fit", "seed 1 instead of 0") { $0.settings.seed = 1 }
  try other("pruned.fit", "pruned_experts 8 instead of 4") { $0.budget = .pruned(8) }
  try other("clones.fit", "clones false instead of true") { $0.settings.clones = false }
  let traffic = try bench.model.writeCapture(
    to: bench.directory.url, name: "other", tokens: 0..<160)
  try other("traffic.fit", "another calibration set") { $0.sets.files = [traffic] }
  let second = try Workbench(sample, seed: 2, tokens: 64, mtpLayers: 1)
  try other("model.fit", "another checkpoint") { $0.checkpoint = second.source }

  var bytes = [UInt8](try bench.bytes("2.fit"))
  bytes[bytes.count - 1] ^= 1
  let damaged = try bench.directory.write(bytes, to: "damaged.fit")
  #expect(refusal([parts[0], damaged, parts[2]])?.subject == "sha256")
}

@Test func `a part whose figures are none is refused, whatever its digest`() throws {
  let bench = try Workbench(parted: 320)
  let parts = try (1...3).map { try bench.write(.range($0...$0), "\($0).fit") }
  let container = try ArrayContainer.openSafetensors(parts[1])
  let tensors = try container.arrays.values.map { array in
    var bytes: [UInt8] = []
    try array.withBytes { bytes = [UInt8](copying: $0) }
    return (name: array.name, type: array.type.rawValue, shape: array.shape, bytes: bytes)
  }
  let good = Dictionary(uniqueKeysWithValues: container.metadata.map { ($0.key, $0.value) })
  let figures = try #require(good["figures.2"])
  for (key, value, problem) in [
    ("figures.2", nil, "is missing"),
    ("figures.2", "no object", "is not the JSON object that it should be"),
    ("figures.2", "[]", "is not the JSON object that it should be"),
    ("figures.2", "{}", "has no original"),
    (
      "figures.2", figures.replacing(#""clones":"#, with: #""clones":"x","other":"#),
      "has another value at clones than it should"
    ),
    (
      "figures.2", figures.replacing(#""sets":["#, with: #""sets":[],"other":["#),
      "is of 0 sets of tokens, but the origin names 2"
    ),
    ("origin", "{}", "has no "),
    ("part", "{", "is not the JSON object that it should be"),
  ] as [(String, String?, String)] {
    var metadata = good
    metadata[key] = value
    let path = bench.directory.path("damaged.fit")
    try writeFitFile(tensors, metadata: metadata, to: path)
    let error = #expect(throws: RegateError.self) {
      try bench.merge([parts[0], path, parts[2]], "merged.fit")
    }
    #expect(error?.file == path && error?.subject == key, "\(problem)")
    #expect(error?.problem.hasPrefix(problem) == true, "\(error?.problem ?? "")")
    #expect(!FileManager.default.fileExists(atPath: bench.directory.path("merged.fit")))
  }
}

@Test func `layers that cannot be fitted apart are refused`() throws {
  let bench = try Workbench(parted: 192)
  func refusal(
    _ layers: LayerPart, _ change: (inout ConversionDraft) -> Void = { _ in }
  ) -> RegateError? {
    let error = #expect(throws: RegateError.self) { try bench.write(layers, "part.fit", change) }
    #expect(!FileManager.default.fileExists(atPath: bench.directory.path("part.fit")))
    return error
  }
  let past = refusal(.range(2...4))
  #expect(past?.subject == "`layers` 2-4")
  #expect(past?.problem == "names layer 4, but the last one is 3")
  #expect(refusal(.range(0...0))?.problem == "holds no MoE layer: these are 1-3")
  #expect(refusal(.share(1, of: 4))?.problem == "asks for 4 shares of 3 MoE layers")
  for (budget, name) in [
    (Budget.targetGini(0.3), "target_gini"), (.maxOutputError(0.2), "max_output_error"),
  ] {
    let error = refusal(.range(1...2)) { $0.budget = budget }
    #expect(error?.subject == "`layers`" && error?.problem.contains(name) == true)
  }
  let model = TinyModel.qwen3
  let error = #expect(throws: RegateError.self) {
    var draft = ConversionDraft(model.path, calibration: [model.ids("heldout")])
    draft.layers = .range(0...0)
    _ = try draft.fit()
  }
  #expect(error?.subject == "`layers`")
  #expect(error?.advice == "make a capture with `CaptureRun`, and fit the layers to that")
}

@Test func `a part goes on after a kill, with the layers that it was begun with`() throws {
  let bench = try Workbench(parted: 192)
  let stop = ResumeOptions(interval: 0)
  var stopped = stop
  stopped.afterSave = { _ in RegateError(.io, "stopped") }
  let part = try bench.write(.range(2...3), "whole.fit")
  #expect(throws: RegateError.self) {
    try bench.write(.range(2...3), "part.fit") { $0.resume = stopped }
  }
  let other = #expect(throws: RegateError.self) {
    try bench.write(.range(1...2), "part.fit") { $0.resume = .init(resumes: true) }
  }
  #expect(other?.description.contains("layers 2-3 instead of 1-2") == true)
  let resumed = try bench.write(.range(2...3), "part.fit") {
    $0.resume = .init(resumes: true, interval: 0)
  }
  #expect(
    try Data(contentsOf: URL(filePath: resumed)) == Data(contentsOf: URL(filePath: part)))
}
