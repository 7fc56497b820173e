// SPDX-License-Identifier: Apache-2.0
//
// Changes of a checkpoint's own files, and the way back.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

extension Workbench {
  func convertInPlace() throws {
    _ = try convertKnown(to: nil, form: nil) { $0.output = .checkpoint(.inPlace) }
  }

  func revert() throws {
    _ = try Reversion.run(.init(checkpoint: source, threads: 2))
  }

  /// Runs `body` and expects a refusal that says `fragment` and changes nothing.
  fileprivate func requireRefusal(_ fragment: String, _ body: () throws -> Void) throws {
    let before = try fileTree(sourceFolder)
    let error = #expect(throws: RegateError.self) { try body() }
    #expect(error?.description.contains(fragment) == true, "\(error?.description ?? "nothing")")
    #expect(try fileTree(sourceFolder) == before)
  }
}

/// All samples but those whose selection bias would have to be widened.
private let samples = (Sample.safetensors + Sample.gguf).filter { sample in
  sample.family != .deepseek || sample.layout?.biasType != .bf16
}

@Test(arguments: samples)
func `a change in place holds what an output would, and is taken back`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  let source = try fileTree(bench.sourceFolder)
  _ = try bench.convertKnown(to: "out")
  try bench.convertInPlace()
  let changed = try fileTree(bench.sourceFolder)
  #expect(changed != source)
  let (inPlace, out) = (try bench.weights(), try bench.weights("out"))
  #expect(Set(inPlace.tensors.keys) == Set(out.tensors.keys))
  for (name, tensor) in out.tensors {
    #expect(inPlace.tensors[name]?.bytes == tensor.bytes, "\(name)")
  }
  // Side files stay, an undo delta and a manifest come.
  #expect(changed.count == source.count + 2)
  try bench.requireRefusal("was changed in place before") { try bench.convertInPlace() }
  try bench.revert()
  #expect(try fileTree(bench.sourceFolder) == source)
  try bench.requireRefusal("nothing was changed in place, or it was reverted") {
    try bench.revert()
  }
}

/// What someone who made both the checkpoint and its undo delta would have written.
@Test(arguments: [
  (#""name":"model.safetensors""#, #""name":"train.sh""#, "train.sh holds no weights"),
  (
    #""name":"model.safetensors""#, #""name":"b/c.safetensors""#,
    "b/c.safetensors holds no weights"
  ),
  (#""manifest":"regate.json""#, #""manifest":".profile""#, ".profile is no name that"),
  (#""manifest":"regate.json""#, #""manifest":"../regate.json""#, "../regate.json is no name that"),
])
func `an undo delta that names other files than weights and manifest is refused`(
  _ stated: String, _ forged: String, _ says: String
) throws {
  let bench = try Workbench(.mixtral, tokens: 192)
  try bench.convertInPlace()
  try forge(
    bench.sourceFolder.appending(path: "regate-undo.delta").path(percentEncoded: false), stated,
    forged)
  try bench.requireRefusal(says) { try bench.revert() }
}

/// Every part of the model is the checkpoint's, another model beside it is not.
@Test func `an undo delta that names another model's file is refused`() throws {
  let bench = try Workbench(.ggufMixtralSplit, tokens: 192)
  try bench.convertInPlace()
  let other = "other-00001-of-00002.gguf"
  let undo = try #require(fileTree(bench.sourceFolder).keys.first { $0.hasSuffix(".delta") })
  try forge(
    bench.sourceFolder.appending(path: undo).path(percentEncoded: false),
    #""name":"model-00001-of-00002.gguf""#, #""name":"\#(other)""#)
  try bench.requireRefusal("\(other) holds no weights of the checkpoint") { try bench.revert() }
}

@Test(arguments: [Sample.qwen3, Sample.mixtralFused, Sample.ggufMixtralSplit, Sample.ggufQwen3F16])
func `a change that was interrupted anywhere is taken back`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  let source = try fileTree(bench.sourceFolder)
  try bench.convertInPlace()
  let changed = try fileTree(bench.sourceFolder)
  var random = SeededGenerator(seed: 21)
  for _ in 0..<12 {
    // Any mixture of old and new bytes can be on the disk after a kill.
    for (name, new) in changed where source[name] != nil && source[name] != new {
      var mixed = new
      let old = try #require(source[name])
      for _ in 0..<6 {
        let start = Int.random(in: 0..<new.count, using: &random)
        let end = Int.random(in: start...new.count, using: &random)
        mixed.replaceSubrange(start..<end, with: old[start..<end])
      }
      try mixed.write(to: bench.sourceFolder.appending(path: name))
    }
    for (name, data) in changed where source[name] == nil {
      // The manifest comes last: it may not be there.
      if name.hasSuffix(".delta") || Bool.random(using: &random) {
        try data.write(to: bench.sourceFolder.appending(path: name))
      }
    }
    try bench.revert()
    #expect(try fileTree(bench.sourceFolder) == source)
  }
}

@Test(arguments: [Sample.mixtralByLayer, Sample.ggufMixtral])
func `what was changed since is not reverted`(_ sample: Sample) throws {
  let bench = try Workbench(sample)
  try bench.convertInPlace()
  let name = try #require(
    fileTree(bench.sourceFolder).keys.sorted().last {
      $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf")
    })
  let url = bench.sourceFolder.appending(path: name)
  let bytes = try Data(contentsOf: url)
  var other = bytes
  // The token embedding or the head: no range that was changed.
  other[other.count - 1] ^= 1
  try other.write(to: url)
  try bench.requireRefusal("was changed since the conversion") { try bench.revert() }
  try bytes.dropLast().write(to: url)
  try bench.requireRefusal("was changed since the conversion") { try bench.revert() }
  try bytes.write(to: url)
  try bench.revert()
}

@Test func `files with other names are never written in place`() throws {
  let bench = try Workbench(.mixtralByLayer, tokens: 192)
  let manager = FileManager.default
  let name = "model-00002-of-00003.safetensors"
  try manager.linkItem(
    atPath: bench.directory.path("source/" + name), toPath: bench.directory.path("second"))
  try bench.requireRefusal("has 2 names") { try bench.convertInPlace() }
  try manager.removeItem(atPath: bench.directory.path("second"))

  try manager.moveItem(
    atPath: bench.directory.path("source/" + name), toPath: bench.directory.path("blob"))
  try manager.createSymbolicLink(
    atPath: bench.directory.path("source/" + name), withDestinationPath: "../blob")
  try bench.requireRefusal("is a symbolic link") { try bench.convertInPlace() }
  try manager.removeItem(atPath: bench.directory.path("source/" + name))
  try manager.moveItem(
    atPath: bench.directory.path("blob"), toPath: bench.directory.path("source/" + name))

  try manager.createSymbolicLink(
    atPath: bench.directory.path("link"), withDestinationPath: bench.directory.path("source"))
  let fit = try bench.stockFit()
  try bench.requireRefusal("is reached through the symbolic link") {
    var draft = ConversionDraft(
      bench.directory.path("link"), calibration: [], output: .checkpoint(.inPlace))
    draft.fit = fit.path
    _ = try draft.run()
  }
  // Between conversion and reverting, too.
  try bench.convertInPlace()
  try manager.linkItem(
    atPath: bench.directory.path("source/" + name), toPath: bench.directory.path("second"))
  try bench.requireRefusal("has 2 names") { try bench.revert() }
}

@Test func `a selection bias in BF16 stays so in place, solved for BF16`() throws {
  let bench = try Workbench(Sample.deepseekBF16Bias, tokens: 640)
  let fit = bench.directory.path("my.fit")
  try bench.convert(to: "out") { $0.form = .stock }.fit.write(to: fit)
  // A fit with F32 values knows nothing of BF16's.
  try bench.requireRefusal("F32 values") {
    try bench.convert(to: nil) {
      $0.fit = fit
      $0.output = .checkpoint(.inPlace)
    }
  }
  let source = try fileTree(bench.sourceFolder)
  let original = try bench.weights().tensors
  try bench.convert(to: nil) { $0.output = .checkpoint(.inPlace) }
  let changed = try bench.weights().tensors
  let name = try #require(original.keys.first { $0.hasSuffix("e_score_correction_bias") })
  #expect(changed[name]?.type == "BF16" && changed[name]?.bytes != original[name]?.bytes)
  #expect(try bench.weights("out").tensors[name]?.type == "F32")
  func mean(_ path: String) throws -> Double {
    let model = try Model.open(path)
    let ginis = try zip(model.layout.layers, bench.model.layers).map { layer, plain in
      let inputs = Matrix(
        rows: bench.model.tokens, columns: bench.model.hidden, values: plain.inputs)
      return gini(
        try model.router(of: layer).router.route(inputs, threads: 2)
          .load(experts: bench.model.experts))
    }
    return ginis.reduce(0, +) / Double(ginis.count)
  }
  let (rounded, exact) = (try mean(bench.source), try mean(bench.output("out")))
  #expect(rounded < exact + 0.03, "\(rounded), with F32 \(exact)")
  try bench.revert()
  #expect(try fileTree(bench.sourceFolder) == source)
}

@Test func `the prototype form is not written in place`() throws {
  let bench = try Workbench(Sample.mixtral, tokens: 192)
  try bench.requireRefusal("not in place") {
    try bench.convert(to: nil) {
      $0.form = .lpr
      $0.output = .checkpoint(.inPlace)
    }
  }
}
