// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import RegateKit
import TestSupport
import Testing

private let sample = Sample.deepseekBF16Bias

private func loads(_ bench: Workbench, _ captures: [String]) throws -> [[Int]?] {
  try Inspection.run(
    .init(checkpoint: bench.source, load: .traffic(captures, .init()), threads: 2)
  ).layers.map { $0.load?.load }
}

@Test(arguments: SyntheticModel.CaptureForm.allCases)
func `every form of capture gives the load that brute force counts`(
  _ form: SyntheticModel.CaptureForm
) throws {
  let bench = try Workbench(sample, tokens: 700)
  let capture = try bench.model.writeCapture(form, to: bench.directory.url, name: "other")
  let expected = bench.model.layers.map { naiveRoute(bench.model, $0).load(bench.model.experts) }
  #expect(try loads(bench, [capture]) == expected)
}

@Test func `several captures are one calibration set`() throws {
  let bench = try Workbench(sample, tokens: 700)
  let first = try bench.model.writeCapture(
    .npz, to: bench.directory.url, name: "first", tokens: 0..<300)
  let second = try bench.model.writeCapture(
    .safetensorsBF16, to: bench.directory.url, name: "second", tokens: 300..<700)
  #expect(try loads(bench, [first, second]) == loads(bench, [bench.capture]))
  for (name, captures) in [("whole", [bench.capture]), ("parts", [first, second])] {
    try bench.convert(to: name) { $0.sets.files = captures }
  }
  var whole = try fileTree(bench.folder("whole"))
  var parts = try fileTree(bench.folder("parts"))
  // They name the captures.
  for name in ["regate.json", "README.md"] {
    whole[name] = nil
    parts[name] = nil
  }
  #expect(whole == parts)
}

/// SHA-256 over `layers.{i}.router {E} {H}\n` and the gate as F32, of the model's own layers.
func fingerprint(_ model: SyntheticModel) -> String {
  naiveSHA256(
    model.layers.filter { $0.index < model.layerCount }.flatMap { layer in
      Array("layers.\(layer.index).router \(model.experts) \(model.hidden)\n".utf8)
        + PlainType.f32.bytes(layer.gate)
    })
}

@Test(arguments: [sample, Sample.ggufQwen3])
func `a capture is bound to the gates that it was made with`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 64)
  let right = try bench.model.writeCapture(
    to: bench.directory.url, name: "right", fingerprint: fingerprint(bench.model))
  #expect(try loads(bench, [right]).count == bench.model.layers.count)
  let other = SyntheticModel(sample.family, seed: 2, tokens: 64)
  let wrong = try bench.model.writeCapture(
    to: bench.directory.url, name: "wrong", fingerprint: fingerprint(other))
  let error = #expect(throws: RegateError.self) { try loads(bench, [right, wrong]) }
  #expect(error?.file == wrong)
  #expect(error?.subject == "model_fingerprint")
}

@Test func `a value that is not finite is refused with its token`() throws {
  var bench = try Workbench(sample, tokens: 64)
  var model = bench.model
  model.layers[1].inputs[5 * model.hidden + 3] = .infinity
  let capture = try model.writeCapture(to: bench.directory.url, name: "infinite")
  let error = #expect(throws: RegateError.self) { try loads(bench, [capture]) }
  #expect(error?.subject == "layers.2.router_input")
  #expect(error?.problem == "token 5 has a value of inf")
  bench = try Workbench(sample, tokens: 64)
  let short = try model.writeCapture(.npz, to: bench.directory.url, name: "short", tokens: 0..<5)
  #expect(
    try loads(bench, [short])[0] == naiveRoute(bench.model, model.layers[0], tokens: 0..<5).load(16)
  )
}
