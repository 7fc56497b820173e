// SPDX-License-Identifier: Apache-2.0
//
// What transformers' classes make of checkpoints; the verdicts are those of transformers 5.23.0.

import Foundation
import RegateKit
import TestSupport
import Testing

private func outcome(
  _ sample: ClassSample, _ folder: TemporaryDirectory, _ runtime: Runtime = .transformers,
  config: (inout [String: Any]) -> Void = { _ in },
  tensors: (inout [String: [Int]]) -> Void = { _ in }
) throws -> Check.Outcome {
  try sample.write(to: folder.url, config: config, tensors: tensors)
  let path = folder.url.path(percentEncoded: false)
  return try Check.run(.init(checkpoint: path, runtimes: [runtime])).outcomes[0]
}

private func sample(_ type: String) throws -> ClassSample {
  try #require(ClassSample.all.first { $0.modelType == type })
}

@Test(arguments: ClassSample.all)
func `what a class writes loads, and each of its parameters is needed`(_ model: ClassSample) throws
{
  let folder = try TemporaryDirectory()
  let whole = try outcome(model, folder)
  #expect(whole.verdict == .loads && whole.confirmed?.versions == ["5.23.0"], "\(whole.findings)")
  // One of each kind; without a layer's router or experts there is no layout to check.
  var seen: Set<String> = []
  for (name, shape) in model.tensors.sorted(by: { $0.key < $1.key }) {
    let kind = name.split(separator: ".").map { Int($0) == nil ? $0 : "N" }.joined(separator: ".")
    guard seen.insert(kind).inserted else { continue }
    if let outcome = try? outcome(model, folder, tensors: { $0[name] = nil }) {
      #expect([.startsAtRandom, .doesNotLoad].contains(outcome.verdict), "\(name)")
      #expect(outcome.loads == false)
      #expect(outcome.findings[0].names.contains(name), "\(name): \(outcome.findings)")
    }
    if let outcome = try? outcome(
      model, folder, tensors: { $0[name] = [shape[0] + 1] + shape[1...] })
    {
      #expect(outcome.verdict == .doesNotLoad, "\(name)")
      #expect(outcome.findings[0].names.contains(name), "\(name): \(outcome.findings)")
    }
  }
}

@Test func `a router far behind the model's layers is left out, one for prediction is no loss`()
  throws
{
  let model = try sample("deepseek_v3")
  for (layer, verdict) in [(2, Check.Verdict.loads), (9, .leavesOut)] {
    let folder = try TemporaryDirectory()
    let name = "model.layers.\(layer).mlp.gate.weight"
    let outcome = try outcome(
      model, folder, tensors: { $0[name] = $0["model.layers.1.mlp.gate.weight"] })
    #expect(outcome.verdict == verdict, "\(outcome.findings)")
    #expect(outcome.findings.contains { $0.names.contains(name) })
  }
}

@Test func `tensors under other names start at random, whatever stands beside them`() throws {
  let folder = try TemporaryDirectory()
  let model = try sample("mixtral")
  for prefix in ["_orig_mod.", "module."] {
    let outcome = try outcome(
      model, folder,
      tensors: { tensors in
        tensors = Dictionary(uniqueKeysWithValues: tensors.map { (prefix + $0.key, $0.value) })
      })
    #expect(outcome.verdict == .startsAtRandom)
    #expect(outcome.findings[0].names.contains("model.norm.weight"))
    #expect(outcome.findings[0].subject.hasSuffix(" more"))
  }
  // A checkpoint of the class without its head is found.
  let bare = try outcome(
    model, folder,
    tensors: { tensors in
      tensors = Dictionary(
        uniqueKeysWithValues: tensors.map {
          ($0.key.hasPrefix("model.") ? String($0.key.dropFirst(6)) : $0.key, $0.value)
        })
    })
  #expect(bare.verdict == .loads)
}

@Test func `what the class does not create is left out by name, and tables are no loss`() throws {
  let folder = try TemporaryDirectory()
  let model = try sample("qwen3_moe")
  let extra = try outcome(model, folder, tensors: { $0["model.layers.1.mlp.extra"] = [3] })
  #expect(extra.verdict == .leavesOut && extra.loads == true)
  #expect(extra.findings[0].names == ["model.layers.1.mlp.extra"])
  let table = try outcome(
    model, folder, tensors: { $0["model.layers.0.self_attn.rotary_emb.inv_freq"] = [4] })
  #expect(table.verdict == .loads)
  #expect(table.findings.contains { $0.rule == "class-ignored" && $0.level == .note })
  let fewer = try outcome(
    try sample("mixtral"), folder, config: { $0["num_hidden_layers"] = 1 })
  #expect(fewer.verdict == .leavesOut)
  #expect(fewer.findings[0].names.contains("model.layers.1.input_layernorm.weight"))
}

@Test func `a tied head may be absent, another one not`() throws {
  let folder = try TemporaryDirectory()
  let model = try sample("olmoe")
  let without: (inout [String: [Int]]) -> Void = { $0["lm_head.weight"] = nil }
  #expect(try outcome(model, folder, tensors: without).verdict == .startsAtRandom)
  let tied = try outcome(
    model, folder, config: { $0["tie_word_embeddings"] = true }, tensors: without)
  #expect(tied.verdict == .loads)
}

/// A key of a class, its value, and whether transformers loads and runs the model.
private struct KeyCase: Sendable, CustomTestStringConvertible {
  let type: String
  let key: String
  let value: @Sendable () -> Any
  let verdict: Check.Verdict

  init(
    _ type: String, _ key: String, _ value: @autoclosure @escaping @Sendable () -> Any,
    _ verdict: Check.Verdict = .doesNotLoad
  ) {
    (self.type, self.key, self.value, self.verdict) = (type, key, value, verdict)
  }

  var testDescription: String { "\(type): \(key) = \(value())" }
}

private let keyCases = [
  KeyCase("mixtral", "vocab_size", 50), KeyCase("mixtral", "num_key_value_heads", 3),
  KeyCase("mixtral", "num_key_value_heads", NSNull()), KeyCase("mixtral", "hidden_act", "foo"),
  KeyCase("mixtral", "hidden_act", "gelu", .loads), KeyCase("mixtral", "sliding_window", 0),
  KeyCase("mixtral", "sliding_window", NSNull(), .loads),
  KeyCase("mixtral", "model_type", NSNull()), KeyCase("mixtral", "rms_norm_eps", 1),
  KeyCase("mixtral", "rms_norm_eps", "1e-5"), KeyCase("mixtral", "pad_token_id", 40),
  KeyCase("mixtral", "pad_token_id", 39, .loads), KeyCase("mixtral", "torch_dtype", "float33"),
  KeyCase("mixtral", "tie_word_embeddings", 1), KeyCase("mixtral", "layer_types", ["x"]),
  KeyCase("qwen3_moe", "norm_topk_prob", NSNull()), KeyCase("qwen3_moe", "attention_bias", 1),
  KeyCase("qwen3_moe", "sliding_window", 0, .loads), KeyCase("qwen3_moe", "head_dim", NSNull()),
  KeyCase("qwen3_moe", "rope_parameters", ["rope_theta": 1e4, "rope_type": "yarn"]),
  KeyCase("qwen3_moe", "rope_parameters", ["rope_theta": 1e4, "rope_type": "ntk"]),
  KeyCase("qwen3_moe", "rope_parameters", ["rope_theta": NSNull()]),
  KeyCase(
    "qwen3_moe", "rope_parameters", ["rope_theta": 1e4, "rope_type": "yarn", "factor": 2.5],
    .loads),
  KeyCase("qwen3_moe", "rope_scaling", ["type": "linear", "factor": "2"]),
  KeyCase("qwen3_moe", "per_layer_config", ["0": [:]], .notChecked),
  KeyCase("qwen3_moe", "quantization_config", ["quant_method": "gptq"], .leavesOut),
  KeyCase("qwen3_moe", "quantization_config", ["quant_method": "fp8"], .notChecked),
  KeyCase("deepseek_v3", "routed_scaling_factor", 2), KeyCase("deepseek_v3", "n_group", NSNull()),
  KeyCase("deepseek_v3", "num_key_value_heads", 2),
  KeyCase("deepseek_v2", "num_attention_heads", 3),
  KeyCase("glm4_moe", "use_qk_norm", false, .leavesOut),
  KeyCase("gpt_oss", "sliding_window", 0), KeyCase("gpt_oss", "auto_map", NSNull()),
  KeyCase("granitemoe", "num_key_value_heads", 3),
  KeyCase("granitemoe", "output_router_logits", NSNull(), .loads),
  KeyCase("phimoe", "lm_head_bias", true, .startsAtRandom),
  KeyCase("ernie4_5_moe", "moe_norm_min", -1.5, .loads),
  KeyCase("ernie4_5_moe", "moe_norm_min", -1),
  KeyCase("dots1", "max_window_layers", NSNull()),
  KeyCase("dots1", "sliding_window", NSNull(), .loads),
  KeyCase("qwen3_5_moe_text", "intermediate_size", "2", .loads),
  KeyCase("qwen3_5_moe_text", "layer_types", NSNull()),
  KeyCase("deepseek_v32", "index_topk", -1), KeyCase("deepseek_v32", "index_topk", 0, .loads),
  KeyCase("glm_moe_dsa", "indexer_types", ["full", "full"], .startsAtRandom),
  KeyCase("glm_moe_dsa", "indexer_types", ["all", "shared"], .loads),
  KeyCase("glm_moe_dsa", "indexer_types", NSNull(), .startsAtRandom),
  KeyCase("qwen3_next", "full_attention_interval", 0, .loads),
  KeyCase("gemma4_text", "num_experts_per_tok", "2", .loads),
  KeyCase("gemma4_text", "hidden_activation", "foo"),
  KeyCase("gemma4_text", "use_bidirectional_attention", "all", .loads),
  KeyCase("gemma4_text", "use_bidirectional_attention", "some"),
  KeyCase("gemma4_text", "rope_scaling", ["type": "linear", "factor": 2.5]),
  KeyCase("gemma4_text", "hidden_size_per_layer_input", 4, .notChecked),
  KeyCase("gemma4_text", "num_kv_shared_layers", 1, .notChecked),
  KeyCase("gemma4_text", "attention_k_eq_v", false),
]

@Test(arguments: keyCases)
private func `keys are taken as the class takes them`(_ test: KeyCase) throws {
  let folder = try TemporaryDirectory()
  do {
    let outcome = try outcome(
      try sample(test.type), folder, config: { $0[test.key] = test.value() })
    #expect(outcome.verdict == test.verdict, "\(outcome.findings)")
  } catch let error as RegateError {
    // What Regate cannot read itself is no verdict either.
    #expect(test.verdict == .doesNotLoad, "\(error)")
  }
}

@Test func `a model inside another one is not checked, and other runtimes say no more`() throws {
  let folder = try TemporaryDirectory()
  let model = try sample("qwen3_moe")
  let wrapped = try outcome(
    model, folder, config: { $0 = ["model_type": "some_vision_model", "text_config": $0] })
  #expect(wrapped.verdict == .notChecked && wrapped.loads == nil)
  for runtime in [Runtime.vllm, .sglang] {
    #expect(try outcome(model, folder, runtime).verdict == .loads)
    let extra = try outcome(model, folder, runtime, tensors: { $0["model.extra"] = [3] })
    #expect(extra.verdict == .notChecked, "\(runtime.rawValue)")
  }
  let strict = try outcome(
    try sample("mixtral"), folder, .mlx, tensors: { $0["model.extra"] = [3] })
  #expect(strict.verdict == .doesNotLoad)
}
