// SPDX-License-Identifier: Apache-2.0

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

/// A checkpoint, what is changed in it, and what its runtimes must say: rule names by runtime.
private struct Case: Sendable, CustomTestStringConvertible {
  let label: String
  let sample: Sample
  var change: @Sendable (inout [String: Any]) -> Void = { _ in }
  let expected: [(Runtime, String, CheckLevel)]

  var testDescription: String { label }
}

private func directory(
  _ family: SyntheticModel.Family, _ layout: SyntheticModel.Layout = .init(.byLayer)
) -> Sample { Sample(family, .directory(layout)) }

/// A Mixtral with a head size of its own, its configuration under `key` of a multimodal one.
private func inWrapper(_ key: String) -> Case {
  Case(
    label: "a Mixtral in the \(key) of a wrapper", sample: directory(.mixtral),
    change: { config in
      var text = config
      text["num_attention_heads"] = 4
      text["head_dim"] = 99
      config = ["model_type": "some_vision_model", key: text]
    }, expected: [(.mlx, "mlx-head-size", .refuses)])
}

private let cases = [
  Case(
    label: "a Mixtral without most of its attention", sample: directory(.mixtral),
    expected: [
      (.transformers, "class-missing", .random), (.llamaCpp, "needs-gguf", .refuses),
    ]),
  Case(
    label: "a GGUF", sample: Sample(.qwen3, .gguf(.init(.f16))),
    expected: [
      (.llamaCpp, "class-keys", .refuses), (.mlx, "needs-safetensors", .refuses),
      (.sglang, "gguf-qwen-norm", .differs), (.transformers, "gguf-dequantised", .unknown),
    ]),
  Case(
    label: "a split GGUF",
    sample: Sample(.mixtral, .gguf(.init(.f16, split: true))),
    expected: [(.vllm, "gguf-split", .refuses)]),
  Case(
    label: "a DeepSeek-V3 without topk_method", sample: directory(.deepseek),
    expected: [(.vllm, "bias-method", .refuses)]),
  Case(
    label: "a selection bias in BF16", sample: directory(.deepseek, .init(.single, bias: .bf16)),
    expected: [(.transformers, "bias-bf16", .differs), (.sglang, "bias-bf16", .differs)]),
  Case(
    label: "fused experts", sample: directory(.mixtral, .init(.single, fused: true)),
    expected: [
      (.vllm, "fused-experts", .drops), (.sglang, "fused-experts", .drops),
      (.llamaCpp, "fused-conversion", .refuses),
    ]),
  Case(
    label: "weights that are not renormalised", sample: directory(.qwen3),
    change: { $0["norm_topk_prob"] = false }, expected: [(.llamaCpp, "qwen-norm", .differs)]),
  Case(
    label: "FP8", sample: directory(.qwen3, .init(.single, experts: .fp8)),
    expected: [
      (.vllm, "quantised-package", .unknown), (.mlx, "quantised-otherwise", .refuses),
    ]),
  Case(
    label: "a Qwen3-MoE as transformers 5 saves it", sample: directory(.qwen3),
    change: {
      $0["num_local_experts"] = $0.removeValue(forKey: "num_experts")
      $0["rope_parameters"] = ["rope_theta": 10000.0]
    }, expected: [(.mlx, "mlx-qwen-keys", .refuses)]),
  Case(
    label: "a Mixtral whose RoPE base only transformers 5 finds", sample: directory(.mixtral),
    change: {
      $0["rope_theta"] = nil
      $0["rope_parameters"] = ["rope_theta": 10000.0]
    }, expected: [(.mlx, "mlx-rope", .differs)]),
  Case(
    label: "a Mixtral with a head size of its own", sample: directory(.mixtral),
    change: {
      $0["num_attention_heads"] = 4
      $0["head_dim"] = 99
    }, expected: [(.mlx, "mlx-head-size", .refuses)]),
  inWrapper("text_config"), inWrapper("language_config"), inWrapper("llm_config"),
  Case(
    label: "experts in AWQ", sample: directory(.qwen3),
    change: { $0["quantization_config"] = ["quant_method": "awq", "bits": 4] },
    expected: [
      (.transformers, "quantised-experts", .drops), (.vllm, "quantised-package", .unknown),
      (.mlx, "quantised-elsewhere", .refuses),
    ]),
  Case(
    label: "MLX", sample: directory(.qwen3),
    change: { $0["quantization"] = ["bits": 4, "group_size": 64] },
    expected: [
      (.vllm, "quantised-mlx", .refuses), (.transformers, "quantised-mlx", .refuses),
    ]),
]

@Test(arguments: cases)
private func `check says what each runtime does with a checkpoint`(_ test: Case) throws {
  let bench = try Workbench(test.sample, tokens: 8)
  if case .directory(let layout) = test.sample.storage {
    try bench.model.writeSafetensors(layout, to: bench.sourceFolder, change: test.change)
  }
  let check = try Check.run(.init(checkpoint: bench.source))
  #expect(check.outcomes.map(\.runtime) == Runtime.allCases)
  for (runtime, rule, level) in test.expected {
    let outcome = try #require(check.outcomes.first { $0.runtime == runtime })
    let finding = outcome.findings.first { $0.rule == rule }
    #expect(finding?.level == level, "\(runtime.rawValue): \(outcome.findings.map(\.rule))")
    #expect(finding?.evidence.source.isEmpty == false && finding?.subject.isEmpty == false)
    #expect((outcome.level ?? .note) >= level)
    #expect((outcome.loads == false) == ((outcome.level ?? .note) >= .random))
  }
  // Report and JSON hold every finding.
  for outcome in check.outcomes {
    for finding in outcome.findings { #expect(check.text.contains(finding.text)) }
  }
  #expect(check.json["runtimes"]?.arrayValue?.count == Runtime.allCases.count)
}

@Test func `the prototype form is refused where its runtime would start random experts`() throws {
  let bench = try Workbench(directory(.qwen3), tokens: 192)
  try bench.model.writeSafetensors(.init(.byLayer), to: bench.sourceFolder) {
    $0["quantization_config"] = ["quant_method": "awq", "bits": 4]
  }
  let error = #expect(throws: RegateError.self) { try bench.convert(to: "out") }
  #expect(error?.description.contains("use `router` stock") == true)
  #expect(!FileManager.default.fileExists(atPath: bench.output("out")))
  try bench.convert(to: "out") { $0.form = .stock }
}

@Test func `a bias that no one reads is named, and where it goes`() throws {
  let bench = try Workbench(directory(.qwen3), tokens: 8)
  try bench.model.writeSafetensors(
    .init(.byLayer), to: bench.sourceFolder,
    renaming: (
      "model.layers.0.input_layernorm.weight", "model.layers.0.mlp.gate.e_score_correction_bias"
    ))
  let check = try Check.run(.init(checkpoint: bench.source))
  let levels = Dictionary(uniqueKeysWithValues: check.outcomes.map { ($0.runtime, $0.level) })
  #expect(levels[.vllm] == .drops)
  #expect(levels[.sglang] == .drops)
  // A norm is missing too.
  #expect((levels[.transformers] ?? .note) ?? .note >= .random)
  #expect(levels[.mlx] == .refuses)
}

@Test func `a gate of the shared expert may have an outer dimension of 1 in GGUF`() throws {
  let path = fixtures.appending(path: "variants/gguf-qwen2-shared-gate/model.gguf")
    .path(percentEncoded: false)
  let outcome = try Check.run(.init(checkpoint: path, runtimes: [.llamaCpp])).outcomes[0]
  // The sample has no vocabulary, and so no embedding of the right shape.
  let misshapen = outcome.findings.filter { $0.text.contains("is stored as") }.flatMap(\.names)
  #expect(misshapen == ["token_embd.weight", "output.weight"])
}

@Test func `a sigmoid model without a gating key is caught`() throws {
  let directory = try TemporaryDirectory()
  let path = directory.path("model.gguf")
  var bytes = try Data(contentsOf: URL(filePath: TinyModel.deepseek.gguf))
  // The key, renamed, is no key any more.
  let key = Data("deepseek2.expert_gating_func".utf8)
  let range = try #require(bytes.range(of: key))
  bytes.replaceSubrange(range, with: Data("deepseek2.expert_gating_none".utf8))
  try bytes.write(to: URL(filePath: path))
  let outcome = try Check.run(.init(checkpoint: path, runtimes: [.llamaCpp])).outcomes[0]
  #expect(outcome.findings.first?.rule == "gguf-gating-absent")
  #expect(outcome.findings.first?.evidence.kind == .measured && outcome.verdict == .differs)
}

/// The runtimes of the plan's check, by name.
private func planned(
  _ draft: ConversionDraft, _ form: RouterForm
) throws -> [String: JSONValue] {
  var draft = draft
  draft.form = form
  let runtimes = try draft.plan().json["check"]?["runtimes"]?.arrayValue ?? []
  return Dictionary(uniqueKeysWithValues: runtimes.map { ($0["runtime"]?.stringValue ?? "", $0) })
}

@Test func `the plan of a conversion says what will load it`() throws {
  let folder = try TemporaryDirectory()
  let draft = ConversionDraft(
    TinyModel.deepseek.path, calibration: [TinyModel.deepseek.ids("calibration")],
    to: folder.path("out"))
  #expect(try planned(draft, .stock)["transformers"]?["verdict"]?.stringValue == "loads")
  let prototype = try planned(draft, .lpr)
  #expect(prototype["transformers"]?["verdict"]?.stringValue == "loads")
  #expect(prototype["vllm"]?["verdict"]?.stringValue == "loads")
  for runtime in ["sglang", "mlx"] {
    #expect(prototype[runtime]?["verdict"]?.stringValue == "does not load", "\(runtime)")
  }
}

@Test func `files that vLLM would read beside the model are named`() throws {
  let folder = try TemporaryDirectory()
  let path = folder.path("model")
  try FileManager.default.copyItem(atPath: TinyModel.qwen3.path, toPath: path)
  func verdict() throws -> Check.Outcome {
    try Check.run(.init(checkpoint: path, runtimes: [.vllm])).outcomes[0]
  }
  #expect(try verdict().verdict == .loads)
  try writeSafetensorsFile(
    [("logits", "F32", [1], [0, 0, 0, 0])], metadata: [:], to: path + "/reference.safetensors")
  let outcome = try verdict()
  #expect(outcome.verdict == .doesNotLoad)
  #expect(outcome.findings.first?.subject == "reference.safetensors")
}

@Test func `the plan of a conversion knows that a bias is widened`() throws {
  let bench = try Workbench(directory(.deepseek, .init(.byLayer, bias: .bf16)), tokens: 64)
  let check = try Check.run(.init(checkpoint: bench.source, runtimes: [.transformers]))
  #expect(check.outcomes[0].findings.contains { $0.rule == "bias-bf16" })
  var draft = bench.draft
  draft.output = .checkpoint(.copy(to: bench.output("out")))
  let findings = try planned(draft, .stock)["transformers"]?["findings"]?.arrayValue ?? []
  #expect(!findings.isEmpty && !findings.contains { $0["rule"]?.stringValue == "bias-bf16" })
}

@Test func `a fit with a bias for a checkpoint without one is refused`() throws {
  let bench = try Workbench(Sample(.deepseek, .gguf(.init(.f16))))
  let fit = try bench.stockFit()
  // A GGUF of the same model whose bias tensors a converter left out, other tensors in their place.
  var bytes = try Data(contentsOf: URL(filePath: bench.source))
  for layer in bench.model.layers {
    let range = try #require(bytes.range(of: Data("blk.\(layer.index).exp_probs_b.bias".utf8)))
    bytes.replaceSubrange(range, with: Data("blk.\(layer.index).xxp_probs_b.bias".utf8))
  }
  try bytes.write(to: URL(filePath: bench.source))
  let error = #expect(throws: RegateError.self) {
    try bench.convert(to: "out") {
      $0.fit = fit.path
    }
  }
  #expect(error?.description.contains("bias") == true, "\(error?.description ?? "")")
}
