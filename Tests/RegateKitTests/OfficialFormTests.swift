// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

private func bench(_ family: SyntheticModel.Family, tokens: Int = 320) throws -> Workbench {
  try Workbench(Sample(family, .directory(.init(.byLayer))), tokens: tokens)
}

@Test(arguments: [SyntheticModel.Family.mixtral, .qwen3])
private func `the official form has the official code's names, shapes and keys`(
  _ family: SyntheticModel.Family
) throws {
  let bench = try bench(family)
  let fit = bench.directory.path("my.fit")
  try bench.convert(to: "out") {
    $0.form = .lprOfficial
    $0.settings.latentSize = 8
    $0.settings.refinementSteps = 20
  }.fit.write(to: fit)
  let (hidden, experts, size) = (bench.model.hidden, bench.model.experts, 8)
  let written = try bench.weights("out").tensors
  let original = try bench.weights().tensors
  let patched = try Model.open(bench.output("out"))
  #expect(patched.layout.hasOfficialRouter)
  for (layer, plain) in zip(patched.layout.layers, bench.model.layers) {
    let module = family == .mixtral ? "block_sparse_moe" : "mlp"
    let prefix = "model.layers.\(layer.index).\(module).gate."
    let shapes = [
      "norm.weight": [hidden], "norm.bias": [hidden], "encoder.weight": [2 * size, hidden],
      "encoder.bias": [2 * size], "out_proj.weight": [hidden, size], "out_proj.bias": [hidden],
      "expert_keys": [experts, size], "ema_sums": [experts, size], "ema_counts": [experts],
      "similarity_func.q_proj.weight": [size, size], "similarity_func.q_proj.bias": [size],
      "similarity_func.k_proj.weight": [size, size], "similarity_func.k_proj.bias": [size],
      "similarity_func.q_norm.weight": [size], "similarity_func.k_norm.weight": [size],
    ]
    let found = written.filter { $0.key.hasPrefix(prefix) }
    #expect(found.count == shapes.count)
    for (name, shape) in shapes {
      #expect(found[prefix + name]?.shape == shape, "\(name)")
    }
    #expect(found[prefix + "ema_sums"]?.bytes == found[prefix + "expert_keys"]?.bytes)
    for name in ["out_proj.weight", "out_proj.bias", "ema_counts"] {
      #expect(found[prefix + name]?.bytes.allSatisfy { $0 == 0 } == true, "\(name)")
    }
    #expect(original[prefix + "weight"] != nil && written[prefix + "weight"] == nil)

    let inputs = Matrix(rows: bench.model.tokens, columns: hidden, values: plain.inputs)
    let before = naiveRoute(bench.model, plain).load(experts)
    let after = try patched.router(of: layer).router.route(inputs, threads: 2)
    #expect(gini(after.load(experts: experts)) < 0.75 * gini(before))
    for token in 0..<after.tokens {
      let row = after.weights[token * after.topK..<(token + 1) * after.topK]
      #expect(abs(row.reduce(0, +) - 1) < 1e-5)
    }
  }
  let config = try JSONValue(contentsOf: bench.output("out") + "/config.json")
  #expect(
    config["model_type"]?.stringValue == "\(family == .mixtral ? "mixtral" : "qwen3_moe")_lpr")
  #expect(config["router_latent_dim"]?.intValue == size)
  #expect(config["SimilarityMetrics"]?.stringValue == "VectorSimilarity")
  #expect(config["routing_metrics"]?.stringValue == "CrossAttention")
  #expect(config["align_weight"]?.doubleValue == (family == .mixtral ? 0.05 : 0.1))
  #expect(config["hidden_size"]?.intValue == hidden)

  // The fit file gives the same bytes; the report, validation and checks know the form.
  try bench.convert(to: "applied") {
    $0.fit = fit
    $0.form = .lprOfficial
  }
  #expect(try bench.weights("applied").tensors == written)
  let validation = try bench.validate("out")
  #expect(validation.layers.allSatisfy { $0.outputError.map { $0 > 0 && $0 < 1 } ?? false })
  let check = try Check.run(.init(checkpoint: bench.output("out")))
  #expect(check.outcomes.allSatisfy { $0.loads == false })
}

@Test func `the report tells how near the distillation comes`() throws {
  let bench = try bench(.qwen3)
  let result = try bench.convert(to: "out") {
    $0.form = .lprOfficial
    $0.settings.refinementSteps = 0
  }
  for layer in result.json["layers"]?.arrayValue ?? [] {
    let overlap = try #require(layer["distillation"]?["overlap"]?.doubleValue)
    #expect(overlap > 0.3 && overlap < 1)
    #expect(try #require(layer["distillation"]?["kl"]?.doubleValue) > 0)
  }
  #expect(result.text.contains("same experts"))
}

/// What is changed in a checkpoint, and the words of the refusal.
private let refusals: [(SyntheticModel.Family, @Sendable (inout [String: Any]) -> Void, [String])] =
  [
    (.deepseek, { _ in }, ["DeepSeek-V3", "softmax"]),
    (.qwen3, { $0["norm_topk_prob"] = false }, ["norm_topk_prob", "sum to 1"]),
  ]

@Test(arguments: refusals.indices)
func `routing that the official code has not is refused with the reason`(_ index: Int) throws {
  let (family, change, words) = refusals[index]
  let bench = try bench(family, tokens: 64)
  try bench.model.writeSafetensors(.init(.byLayer), to: bench.sourceFolder, change: change)
  let error = #expect(throws: RegateError.self) {
    try bench.convert(to: "out") { $0.form = .lprOfficial }
  }
  for word in words { #expect(error?.description.contains(word) == true, "\(word)") }
  #expect(!FileManager.default.fileExists(atPath: bench.output("out")))
}

@Test func `what official routers cannot be for is refused`() throws {
  let bench = try bench(.mixtral, tokens: 320)
  let fit = bench.directory.path("my.fit")
  try bench.convert(to: "plain") { $0.form = .lpr }.fit.write(to: fit)
  func refusal(_ change: (inout ConversionDraft) -> Void) throws -> String {
    let error = #expect(throws: RegateError.self) {
      try bench.convert(to: "out") {
        $0.form = .lprOfficial
        change(&$0)
      }
    }
    return error?.description ?? ""
  }
  #expect(
    try refusal {
      $0.fit = fit
    }.contains("official code"))
  #expect(
    try refusal { $0.output = .checkpoint(.inPlace) }.contains("`router` lpr-official"))

  // A router that was trained further adds to what the experts read.
  try bench.convert(to: "out") {
    $0.form = .lprOfficial
    $0.settings.refinementSteps = 0
  }
  let shard = bench.folder("out").appending(path: "model-regate-router.safetensors")
  var bytes = try Data(contentsOf: shard)
  let header = try SafetensorsFile(path: shard.path(percentEncoded: false))
  let tensor = try #require(header.tensors.first { $0.name.hasSuffix("out_proj.weight") })
  bytes[tensor.range.lowerBound + 3] = 0x3F
  try bytes.write(to: shard)
  let error = #expect(throws: RegateError.self) {
    let model = try Model.open(bench.output("out"))
    for layer in model.layout.layers { _ = try model.router(of: layer) }
  }
  #expect(error?.description.contains("out_proj.weight") == true)
}

@Test func `an official checkpoint is run as its configuration says`() throws {
  let directory = try TemporaryDirectory()
  let model = TinyModel.qwen3
  var draft = ConversionDraft(
    model.path, calibration: [model.data("heldout.capture.safetensors")],
    to: directory.path("out"))
  draft.form = .lprOfficial
  draft.settings.refinementSteps = 0
  draft.settings.clones = false
  _ = try draft.run()
  let ids = [model.ids("heldout")]
  let inspection = try Inspection.run(
    .init(
      checkpoint: directory.path("out"), load: .traffic(ids, .init()), ranks: [2], threads: 2))
  let validation = try Validation.run(
    .init(original: model.path, patched: directory.path("out"), calibration: ids, threads: 2))
  // Its queries are normalised beside one dimension that is far larger than the others, so that few
  // digits are left: the last bit of an input turns some choices.
  for (inspected, validated) in zip(inspection.layers, validation.layers) {
    let (load, other) = (try #require(inspected.load?.load), validated.patched.load)
    let moved = zip(load, other).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
    #expect(moved <= 0, "\(moved) of \(load.reduce(0, +))")
  }
}
