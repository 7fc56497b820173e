// SPDX-License-Identifier: Apache-2.0
//
// Families that Regate does not run: what is refused, and what is said of them.

import Architectures
import Foundation
import RegateKit
import TestSupport
import Testing

@Suite("Families that are not run") struct InspectedFamilyTests {
  private static func inspected(_ type: String) throws -> ClassSample {
    try #require(ClassSample.inspected.first { $0.modelType == type })
  }

  private func inspect(
    _ sample: ClassSample, config: (inout [String: Any]) -> Void = { _ in },
    tensors: (inout [String: [Int]]) -> Void = { _ in }
  ) throws -> Inspection {
    let directory = try TemporaryDirectory()
    try sample.write(to: directory.url, config: config, tensors: tensors)
    return try Inspection.run(.init(checkpoint: directory.url.path(percentEncoded: false)))
  }

  @Test func `each has a sample, and each sample a family`() {
    let families = Family.all.filter { $0.mixer == nil }
    #expect(!families.isEmpty)
    for family in families {
      let types = family.huggingFace.modelTypes
      #expect(ClassSample.inspected.contains { types.contains($0.modelType) }, "\(family.name)")
    }
    #expect(families.count == ClassSample.inspected.count)
  }

  @Test(arguments: ClassSample.inspected)
  func `text and ids are refused by the family's name`(sample: ClassSample) throws {
    let directory = try TemporaryDirectory()
    let source = directory.url.appending(path: "model")
    try sample.write(to: source)
    let path = source.path(percentEncoded: false)
    let ids = try directory.writeIDs([[1, 2, 3, 4], [5, 6, 7, 8]], to: "ids.npy")
    let family = try #require(
      Family.all.first { $0.huggingFace.modelTypes.contains(sample.modelType) })
    let runs: [() throws -> Void] = [
      { _ = try Inspection.run(.init(checkpoint: path, load: .traffic([ids], .init()))) },
      { _ = try ConversionDraft(path, calibration: [ids], to: directory.path("out")).run() },
      {
        _ = try CaptureRun.run(
          .init(
            checkpoint: path, calibration: [ids], output: directory.path("capture.safetensors")))
      },
    ]
    for run in runs {
      let error = #expect(throws: RegateError.self) { try run() }
      #expect(error?.code == .unsupported && error?.subject == family.title)
      #expect(error?.advice?.contains("tools/capture.py") == true)
    }
  }

  /// Of one MoE layer's router and experts.
  @Test(arguments: ClassSample.inspected)
  func `a part that is absent or misshapen is named`(sample: ClassSample) throws {
    let parts = sample.tensors.keys.sorted().filter {
      $0.contains("layers.1.") && !$0.contains("shared") && !$0.contains("latent_proj")
        && !$0.contains("routed_expert_") && !$0.contains("share_expert")
        && !$0.contains("experts.0.")
        && !$0.contains("experts.2.")
    }
    #expect(parts.count >= 3)
    for part in parts {
      let absent = Result { try inspect(sample, tensors: { $0[part] = nil }) }
      if case .failure(let error) = absent {
        let error = try #require(error as? RegateError)
        #expect(error.code == .missing && error.subject == part, "\(part): \(error)")
      } else {
        // Of a bias that no layer has, transformers' start is said.
        #expect(part.hasSuffix("bias"))
        let warnings = try absent.get().warnings
        #expect(warnings.contains { $0.contains("transformers starts it at zero") }, "\(part)")
      }
      let misshapen = #expect(throws: RegateError.self) {
        try inspect(sample, tensors: { $0[part]?[0] += 1 })
      }
      #expect(misshapen?.code == .mismatch && misshapen?.subject == part, "\(part)")
    }
  }

  @Test func `layers that choose by a table are named, and a table must be there`() throws {
    let sample = try Self.inspected("deepseek_v4")
    let warning = try #require(try inspect(sample).warnings.first)
    #expect(warning.hasPrefix("layer 0: a table of token ids chooses the experts"))
    #expect(warning.contains("model.layers.0.ffn.gate.tid2eid"))
    let without = #expect(throws: RegateError.self) {
      try inspect(sample, tensors: { $0["model.layers.0.ffn.gate.tid2eid"] = nil })
    }
    #expect(without?.subject == "model.layers.0.ffn.gate.weight")
    #expect(without?.problem.contains("a layer with a table") == true)
  }

  @Test func `experts of layers that choose by a table are not pruned`() throws {
    let directory = try TemporaryDirectory()
    let source = directory.url.appending(path: "source")
    let sample = try Self.inspected("deepseek_v4")
    try sample.write(to: source)
    let capture = directory.url.appending(path: "capture.safetensors")
    try sample.writeCapture([Float](repeating: 1, count: 64 * 32), layers: [1], to: capture)
    var draft = ConversionDraft(
      source.path(percentEncoded: false), calibration: [capture.path(percentEncoded: false)],
      to: directory.path("out"))
    draft.form = .stock
    draft.budget = .pruned(1)
    let error = #expect(throws: RegateError.self) { try draft.run() }
    #expect(error?.subject == "layer 0" && error?.code == .refused)
  }

  @Test func `of what experts do that Regate does not compute, the reason is said`() throws {
    for (type, words) in [
      ("nemotron_h", "squared ReLU"), ("kimi_k3", "SiTU"),
      ("llama4_text", "the router's weight multiplies"),
    ] {
      let bench = try TemporaryDirectory()
      try Self.inspected(type).write(to: bench.url)
      let model = try Model.open(bench.url.path(percentEncoded: false))
      #expect(model.layout.undecodable?.contains(words) == true)
    }
    let directory = try TemporaryDirectory()
    try Self.inspected("step3p5").write(
      to: directory.url, config: { $0["swiglu_limits"] = [0.0, 7.0] })
    let limited = try Model.open(directory.url.path(percentEncoded: false))
    #expect(limited.layout.undecodable?.contains("clamp") == true)
  }

  /// A key, its value, and what the error names.
  @Test(arguments: [
    ("deepseek_v4", "scoring_func", "tanh", "scoring_func"),
    ("deepseek_v4", "swiglu_limit", "0", "swiglu_limit"),
    ("minimax_m3_vl_text", "mlp_layer_types", "[\"sparse\"]", "mlp_layer_types"),
    ("step3p5", "mlp_layer_types", "null", "all 2 layers dense"),
    ("nemotron_h", "layers_block_type", "null", "hybrid_override_pattern"),
    ("nemotron_h", "moe_latent_size", "0", "moe_latent_size"),
    ("llama4_text", "moe_layers", "\"1;2\"", "moe_layers"),
    ("hunyuan_v1_moe", "num_experts_per_tok", "[2]", "num_experts_per_tok"),
    ("bailing_hybrid", "num_expert_group", "3", "num_expert_group"),
    ("bailing_moe", "score_function", "sigmoid", "score_function"),
    ("bailing_moe_v2", "score_function", "softmax", "score_function"),
    ("kimi_k3", "moe_router_activation_func", "softmax", "moe_router_activation_func"),
  ])
  func `a key that does not fit is named`(
    type: String, key: String, value: String, subject: String
  ) throws {
    let parsed =
      (try? JSONSerialization.jsonObject(with: Data(value.utf8), options: .fragmentsAllowed))
      ?? value
    let error = #expect(throws: RegateError.self) {
      try inspect(Self.inspected(type), config: { $0[key] = parsed })
    }
    #expect(error?.description.contains(subject) == true, "\(error?.description ?? "")")
  }

  @Test func `check says that the rest of the class is not known`() throws {
    let directory = try TemporaryDirectory()
    try Self.inspected("exaone_moe").write(to: directory.url)
    let check = try Check.run(.init(checkpoint: directory.url.path(percentEncoded: false)))
    for outcome in check.outcomes where outcome.runtime != .llamaCpp {
      #expect(outcome.verdict == .notChecked, "\(outcome.runtime)")
    }
    let finding = check.outcomes.flatMap(\.findings).first { $0.rule == "class-unlisted" }
    #expect(finding?.level == .unknown && finding?.evidence.versions == ["5.23.0"])
  }
}
