// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Foundation
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

private typealias Form = LatentForm

private let forms = EncoderKind.allCases.flatMap { encoder in
  SimilarityKind.allCases.map { Form(encoder: encoder, similarity: $0) }
}

/// Samples with a different family for each form in turn.
private let samples = zip(
  forms, (0..<forms.count).map { Sample.safetensors[[1, 6, 11][$0 % 3]] })

@Test(arguments: samples)
private func `every form is written, read back, balanced and kept in a fit file`(
  _ form: Form, _ sample: Sample
) throws {
  let bench = try Workbench(sample, tokens: 768)
  let fit = bench.directory.path("my.fit")
  try bench.convert(to: "fitted") {
    $0.settings.latentForm = form
    $0.settings.refinementSteps = 10
  }.fit.write(to: fit)
  try bench.convert(to: "applied") {
    $0.fit = fit
  }
  let written = try bench.weights("fitted")
  #expect(try bench.weights("applied").tensors == written.tensors)

  let config = try JSONValue(contentsOf: bench.output("fitted") + "/config.json")
  #expect(config["regate"]?["version"]?.intValue == 4)
  #expect(config["regate"]?["encoder"]?.stringValue == form.encoder.rawValue)
  #expect(config["regate"]?["similarity"]?.stringValue == form.similarity.rawValue)
  let patched = try Model.open(bench.output("fitted"))
  #expect(patched.layout.prototypeForm == form)
  for (layer, plain) in zip(patched.layout.layers, bench.model.layers) {
    guard case .prototype(let router) = try patched.router(of: layer) else {
      Issue.record("the router of layer \(layer.index) is not a prototype one")
      continue
    }
    #expect(router.form == form)
    // Reading loses nothing: the tensors are those on disk.
    for tensor in try PrototypeRouterFormat.tensors(of: router, gate: layer.gate.name) {
      #expect(written.tensors[tensor.name]?.bytes == tensor.bytes, "\(tensor.name)")
      #expect(written.tensors[tensor.name]?.shape == tensor.shape, "\(tensor.name)")
    }
    let inputs = Matrix(
      rows: bench.model.tokens, columns: bench.model.hidden, values: plain.inputs)
    let before = naiveRoute(bench.model, plain).load(bench.model.experts)
    let after = router.route(inputs, threads: 2).load(experts: bench.model.experts)
    #expect(gini(after) < 0.5 * gini(before), "\(gini(before)) to \(gini(after))")
  }
}

@Test func `the form is that of the configuration, and nothing else is read`() throws {
  let bench = try Workbench(Sample.qwen3, tokens: 256)
  try bench.convert(to: "out") {
    $0.settings.latentForm = Form(encoder: .gaussian, similarity: .kullbackLeibler)
    $0.settings.refinementSteps = 0
  }
  func refusal(_ change: (inout JSONValue) -> Void) throws -> String {
    let path = bench.output("out") + "/config.json"
    let original = try Data(contentsOf: URL(filePath: path))
    defer { try? original.write(to: URL(filePath: path)) }
    var config = try JSONValue(contentsOf: path)
    change(&config)
    try Data(config.serialised(.pretty)).write(to: URL(filePath: path))
    let error = #expect(throws: RegateError.self) {
      let model = try Model.open(bench.output("out"))
      for layer in model.layout.layers { _ = try model.router(of: layer) }
    }
    return error.map { String(describing: $0) } ?? ""
  }
  func mark(_ key: String, _ value: JSONValue) -> (inout JSONValue) -> Void {
    {
      var mark = $0["regate"] ?? [:]
      mark[key] = value
      $0["regate"] = mark
    }
  }
  #expect(try refusal(mark("version", 3)).contains("expected 4"))
  #expect(try refusal(mark("version", 5)).contains("expected 4"))
  #expect(try refusal(mark("encoder", "mlp")).contains("mlp"))
  #expect(try refusal(mark("similarity", .null)).contains("missing"))
  // Right names, but of other tensors than those on disk.
  #expect(try refusal(mark("similarity", "cross_attention")).contains("query_weight"))
  #expect(try refusal(mark("encoder", "linear")).contains("weight"))
  #expect(try refusal { $0["hidden_size"] = 63 } != "")
}
