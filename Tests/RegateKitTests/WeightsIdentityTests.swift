// SPDX-License-Identifier: Apache-2.0
//
// Weights are told apart where the routers are the same. The digests are those that
// tools/capture.py computes.

import ByteStorage
import Checkpoints
import Foundation
import Measures
import OrderedCollections
import RegateKit
import TestSupport
import Testing

@Suite("Which weights a checkpoint has") struct WeightsIdentityTests {
  @Test func `the digests are those of the script that captures with transformers`() throws {
    let expected: [(TinyModel, String, String)] = [
      (
        .qwen3, "974429eb8ac5e81fd16e63ed4e89fdf0b27528258f03248924279ad051f878f0",
        "05167aead5b4c7b5a147c7073a22159833aaa8acc83f3fc0077bc6465a51fb87"
      ),
      (
        .deepseek, "4ad49c7551d8190601bdedd20c44cdf973e71d6c4f9c955c4bbbcb8d883cd961",
        "7e7f57eede412c9e0dfcb28295543775b3adf1dbbe6cb3e2591690d5b650b6d4"
      ),
    ]
    for (model, layout, sample) in expected {
      let identity = try WeightsIdentity(CheckpointFormat.open(model.path))
      #expect(identity == WeightsIdentity(layout: layout, sample: sample), "\(model)")
    }
  }

  @Test func `of a large group some are sampled, and of a large tensor several places`() throws {
    let directory = try TemporaryDirectory()
    let large = (1 << 27) + 1
    let entries = (0..<600).map {
      #""layers.\#($0).w":{"dtype":"U8","shape":[2],"data_offsets":[\#(2 * $0),\#(2 * $0 + 2)]}"#
    }
    let header = Array(
      ("{" + entries.joined(separator: ",")
        + #","z":{"dtype":"U8","shape":[\#(large)],"data_offsets":[1200,\#(1200 + large)]}}"#).utf8)
    let small = (0..<600).flatMap { [UInt8($0 % 256), UInt8($0 / 256)] }
    let path = try directory.write(
      littleEndian(UInt64(header.count)) + header + small, to: "big.safetensors")
    let start = 8 + header.count + small.count
    let file = try FileHandle(forWritingTo: URL(filePath: path))
    // Holes, which take no room.
    try file.truncate(atOffset: UInt64(start + large))
    for place in 0..<3 {
      try file.seek(toOffset: UInt64(start + large / 6 * (2 * place + 1)))
      try file.write(contentsOf: [UInt8(place + 1)])
    }
    try file.close()
    let identity = try WeightsIdentity(SafetensorsCheckpoint(path: path))
    #expect(
      identity
        == WeightsIdentity(
          layout: "e75f18002ef6cc059dc9bf1d81dc10234343ce2104f4226ea0b5ba59cba8d54c",
          sample: "4b5c04e3a5569a494ea15a0023a48b6c0de526de20f23c8782bbafd1ae937c2e"))
  }
}

/// Warnings of a run.
final class Warnings: ProgressSink {
  private let lines = Locked<[String]>([])

  var all: [String] { lines.withLock { $0 } }

  func begin(_ label: String, total: Int) {}
  func advance(_ count: Int) {}
  func end() {}
  func warn(_ text: String) { lines.withLock { $0.append(text) } }
}

@Suite("Captures of other weights with the same routers") struct CaptureWeightsTests {
  private let model = TinyModel.qwen3
  private let directory: TemporaryDirectory
  private let capture: String

  init() throws {
    directory = try TemporaryDirectory()
    capture = directory.path("base.safetensors")
    _ = try CaptureRun.run(
      .init(
        checkpoint: model.path, calibration: [model.ids("heldout")], output: capture, threads: 2))
  }

  /// What an inspection of `checkpoint` with `capture` warns of.
  private func warnings(_ checkpoint: String, _ capture: String) throws -> [String] {
    let warnings = Warnings()
    _ = try Inspection.run(
      .init(checkpoint: checkpoint, load: .traffic([capture], .init()), threads: 2),
      progress: warnings)
    return warnings.all
  }

  @Test func `a fine-tune is told from its base though its routers are the same`() throws {
    let base = directory.url.appending(path: "base")
    let tuned = directory.url.appending(path: "tuned")
    let flipSign = { (name: String, weight: TinyModel.Weight) -> TinyModel.Weight? in
      var weight = weight
      // The sign of one weight in the middle.
      if name == "model.layers.1.self_attn.q_proj.weight" {
        weight.bytes[weight.bytes.count / 2 + 3] ^= 0x80
      }
      return weight
    }
    try model.write(to: base)
    try model.write(to: tuned, weight: flipSign)
    let capture = directory.path("written.safetensors")
    _ = try CaptureRun.run(
      .init(
        checkpoint: base.path(percentEncoded: false), calibration: [model.ids("heldout")],
        output: capture, threads: 2))
    #expect(try warnings(base.path(percentEncoded: false), capture).isEmpty)
    let error = #expect(throws: RegateError.self) {
      try warnings(tuned.path(percentEncoded: false), capture)
    }
    #expect(error?.file == capture)
    #expect(error?.subject == "weights_sample")
    #expect(error?.code == .mismatch)
    // A plan reads them as the run does.
    let planned = #expect(throws: RegateError.self) {
      try ConversionDraft(tuned.path(percentEncoded: false), calibration: [capture]).plan()
    }
    #expect(planned?.subject == "weights_sample")
    try requireWarnings(fitting: base, to: capture, using: tuned)
  }

  /// A fit of `base` serves it and a quantisation without a word, and a fine-tune with a warning.
  private func requireWarnings(fitting base: URL, to capture: String, using tuned: URL) throws {
    let fit = directory.path("base.fit")
    var draft = ConversionDraft(base.path(percentEncoded: false), calibration: [capture])
    draft.settings.refinementSteps = 0
    _ = try draft.fit(to: fit)
    draft.fit = fit
    for (path, output, isOther) in [
      (base.path(percentEncoded: false), "of-base", false),
      (tuned.path(percentEncoded: false), "of-tuned", true), (model.gguf, "of-base.gguf", false),
    ] {
      draft.checkpoint = path
      draft.output = .checkpoint(.copy(to: directory.path(output)))
      let warnings = Warnings()
      _ = try draft.run(progress: warnings)
      let isSaid = warnings.all.contains { $0.contains("was made for other weights than") }
      #expect(isSaid == isOther, "\(output)")
    }
  }

  @Test func `a copy, whenever it was made, is the same model`() throws {
    let copy = directory.path("copy")
    try FileManager.default.copyItem(atPath: model.path, toPath: copy)
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSince1970: 1)], ofItemAtPath: copy + "/model.safetensors"
    )
    #expect(try warnings(copy, capture).isEmpty)
  }

  @Test func `weights in another form, and a capture that names none, get a warning`() throws {
    let quantised = try warnings(model.gguf, capture)
    #expect(quantised.count == 1 && quantised[0].contains("stored in another form"))
    // As versions before wrote it.
    let old = try SafetensorsFile(path: capture)
    var metadata = try #require(old.metadata)
    metadata["weights_layout"] = nil
    metadata["weights_sample"] = nil
    try SafetensorsWriter.write(
      try old.tensors.map { tensor in
        try .init(
          name: tensor.name, type: tensor.type, shape: tensor.shape,
          bytes: old.file.bytes(in: tensor.range))
      }, metadata: metadata, to: .file(directory.path("old.safetensors")))
    let unknown = try warnings(model.path, directory.path("old.safetensors"))
    #expect(unknown.count == 1 && unknown[0].contains("does not say which weights"))
  }
}
