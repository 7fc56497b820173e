// SPDX-License-Identifier: Apache-2.0

import Architectures
import Checkpoints
import OrderedCollections
import Testing

/// Each warning appears where runtimes disagree, and says what they do.
struct LayoutWarningTests {
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let draft: ModelDraft
    let words: [String]

    init(_ name: String, _ draft: ModelDraft, _ words: String...) {
      testDescription = name
      self.draft = draft
      self.words = words
    }
  }

  static func adding(_ name: String, _ shape: [Int], to draft: ModelDraft) -> ModelDraft {
    var draft = draft
    draft.add(name, shape)
    return draft
  }

  /// By `architectures` alone.
  static func typed(_ type: JSONValue) -> ModelDraft {
    var draft = ModelDraft.qwen3()
    draft.config["model_type"] = type.isNull ? JSONValue?.none : type
    draft.config["architectures"] = ["Qwen3MoeForCausalLM"]
    return draft
  }

  static let cases = [
    Case(
      "V2 with norm_topk_prob", .deepseekV2(["norm_topk_prob": true]), "norm_topk_prob is true",
      "transformers 5.23 ignores it"),
    Case(
      "V2 with groups",
      .deepseekV2(["topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1]),
      "sum of its two best"),
    Case(
      "V3 with another scoring_func", .deepseekV3(["scoring_func": "softmax"]),
      "scoring_func is \"softmax\"", "llama.cpp's converter"),
    Case("V3 without topk_method", .deepseekV3(["topk_method": nil]), "topk_method is absent"),
    Case("Kimi-K2", .deepseekV3(type: "kimi_k2"), "trust_remote_code"),
    Case(
      "a model type that nobody knows", typed("olmoo"),
      "model_type is \"olmoo\", and only \"architectures\" says Qwen3-MoE", "is \"qwen3_moe\""),
    Case("no model type", typed(.null), "model_type is absent"),
    Case(
      "a window that llama.cpp leaves out",
      .qwen3([
        "use_sliding_window": true, "sliding_window": 3,
      ]), "sliding_window is 3, but llama.cpp has no windows for Qwen3-MoE"),
    Case(
      "dots1 with a window",
      .huggingFace(
        "dots1",
        ModelDraft.deepseekSettings.merging(["sliding_window": 8, "max_window_layers": 1]) { $1 },
        layers: [1], bias: "mlp.gate.e_score_correction_bias"),
      "sliding_window is 8, but llama.cpp has no windows for dots.llm1"),
    Case(
      "blocks of FP4 that the configuration does not say", .gptOSS(),
      "blocks is in blocks of FP4, and there is no quantization_config"),
    Case(
      "moe_layer_freq", .deepseekV3(["moe_layer_freq": 2]), "moe_layer_freq is 2",
      "transformers ignores it"),
    Case(
      "Qwen3 without renormalisation", .qwen3(["norm_topk_prob": false]),
      "llama.cpp always routes Qwen3-MoE with it on"),
    Case(
      "GPT-OSS without a window",
      .gptOSS(["layer_types": ["full_attention"]]), "does not alternate",
      "all even layers"),
    Case(
      "GPT-OSS as it is published",
      .gptOSS(["rope_scaling": ["rope_type": "yarn", "truncate": false]]),
      "rope_scaling.truncate is false", "llama.cpp always rounds"),
    Case(
      "Qwen3 with dense layers", .qwen3(["mlp_only_layers": [0]], layers: [1]),
      "1 of 2 layers are dense"),
    Case(
      "a selection bias that transformers ignores",
      adding(
        "model.layers.1.mlp.gate.e_score_correction_bias", [4], to: .deepseekV2()),
      "transformers ignores this tensor"),
    Case(
      "V3 without any selection bias",
      .huggingFace(
        "deepseek_v3",
        ModelDraft.deepseekSettings.merging(["n_group": 1, "topk_group": 1]) { $1 }, layers: [1]),
      "starts it at zero"),
    Case(
      "an expert tensor that nobody knows",
      {
        var draft = ModelDraft.qwen3()
        for layer in 0..<2 {
          for expert in 0..<4 {
            draft.add("model.layers.\(layer).mlp.experts.\(expert).novelty", [3])
          }
        }
        return draft
      }(), "is not understood"),
    Case(
      "Phi-3.5-MoE",
      .huggingFace(
        "phimoe", ["num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6],
        gate: "mlp.router"), "sparsemixer"),
    Case(
      "deepseek2 without gating function", .deepseek2(without: ["expert_gating_func"]),
      "routes this file by softmax", "exp_probs_b"),
    Case(
      "deepseek2 without group keys",
      .deepseek2(without: ["expert_group_count", "expert_group_used_count"]),
      "no group limit", "4 of 8"),
    Case(
      "V2 GGUF with groups",
      .deepseek2(["expert_gating_func": .uint32(1)], without: ["expert_weights_norm"]),
      "transformers scores DeepSeek-V2's by the best one"),
    Case(
      "V3 GGUF without norm", .deepseek2(without: ["expert_weights_norm"]), "does not renormalise"),
    Case(
      "V2 GGUF with norm", .deepseek2(["expert_gating_func": .uint32(1)]),
      "transformers 5.23 does not for DeepSeek-V2"),
    Case(
      "deepseek2 without scale", .deepseek2(without: ["expert_weights_scale"]),
      "does not scale the weights"),
    Case(
      "qwen3moe with norm off", .gguf("qwen3moe", ["expert_weights_norm": .bool(false)]),
      "always routes Qwen3-MoE with it on"),
    Case(
      "llama with a scale", .gguf("llama", ["expert_weights_scale": .float32(2)]),
      "does not read it for Mixtral"),
    Case(
      "llama with YaRN's beta_fast", .gguf("llama", ["rope.scaling.yarn_beta_fast": .float32(4)]),
      "yarn_beta_fast is 4.0, but llama.cpp always takes 32.0"),
    Case(
      "llama with YaRN's beta_slow", .gguf("llama", ["rope.scaling.yarn_beta_slow": .float32(2)]),
      "yarn_beta_slow is 2.0, but llama.cpp always takes 1.0"),
    Case(
      "fewer layers than are stored", .qwen3(layers: [0, 1, 2, 3]),
      "num_hidden_layers says 2 layers, and 2 more are stored (model.layers.2 to model.layers.3)"),
    Case(
      "fewer blocks than are stored", .gguf("qwen3moe", layers: [0, 1, 2]),
      "block_count says 2 layers, and 1 more are stored (blk.2)"),
    Case(
      "llama with sigmoid", .gguf("llama", ["expert_gating_func": .uint32(2)]),
      "always routes Mixtral by softmax"),
    Case(
      "qwen3moe with groups",
      .gguf("qwen3moe", ["expert_group_count": .uint32(2), "expert_group_used_count": .uint32(1)]),
      "1 of 2 expert groups"),
    Case(
      "a selection bias that llama.cpp refuses", .gguf("qwen3moe", bias: true),
      "llama.cpp refuses a Qwen3-MoE file"),
    Case(
      "fused gate and up that llama.cpp refuses", .gguf("qwen3moe", fusedGateUp: true),
      "ffn_gate_up_exps"),
  ]

  @Test(arguments: cases)
  func `a disagreement is named`(_ test: Case) throws {
    let warnings = try test.draft.layout().warnings
    let named = warnings.contains { warning in test.words.allSatisfy(warning.contains) }
    #expect(named, "\(warnings)")
  }

  @Test func `fused experts load in transformers and not in llama.cpp's converter`() throws {
    let fused = try ModelDraft.deepseekV3().fused()
    #expect(try fused.layout().warnings.contains { $0.contains("converter refuses it") })
    #expect(try ModelDraft.qwen3().fused().layout().warnings == [])
    let transposed = try ModelDraft.qwen3().fused(transposed: true)
    #expect(try transposed.layout().warnings.contains { $0.contains("stored [in,out]") })
  }

  @Test(arguments: [
    ModelDraft.mixtral, .qwen3(), .deepseekV2(), .deepseekV3(), .gguf("llama"),
    .gguf("qwen3moe"), .deepseek2(),
  ])
  func `nothing is said about ordinary checkpoints`(_ draft: ModelDraft) throws {
    #expect(try draft.layout().warnings == [])
  }
}
