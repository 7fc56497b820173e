// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors
import Testing

/// Rules as transformers 5.23 and llama.cpp 0.5.0-dev compute them.
struct RoutingRuleTests {
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let draft: ModelDraft
    let family: String
    let rule: RoutingRule

    init(
      _ name: String, _ draft: ModelDraft, _ family: String, _ scoring: RoutingRule.Scoring,
      normalise: Bool, guarding: RoutingRule.Guard = .none, scale: Float = 1,
      groups: RoutingRule.Groups? = nil, topK: Int = 2
    ) {
      testDescription = name
      self.draft = draft
      self.family = family
      rule = RoutingRule(
        experts: 4, topK: topK, scoring: scoring, normalise: normalise, normaliseGuard: guarding,
        scale: scale, groups: groups)
    }
  }

  static let clamp = RoutingRule.Guard.clamp(6.103515625e-05)
  static let topTwo = RoutingRule.Groups(
    count: 2, kept: 1, score: .topTwoSum, mask: .negativeInfinity)
  static let best = RoutingRule.Groups(count: 2, kept: 1, score: .max, mask: .zero)
  static let moe: [String: JSONValue] = [
    "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6,
  ]
  static let narrow: [String: JSONValue] = [
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
  ]

  static let transformers = [
    Case("Mixtral", .mixtral, "mixtral", .softmax, normalise: true),
    Case("Qwen3-MoE", .qwen3(), "qwen3_moe", .softmax, normalise: true),
    Case(
      "Qwen3-MoE, the default of norm_topk_prob", .qwen3(["norm_topk_prob": nil]), "qwen3_moe",
      .softmax, normalise: false),
    Case("DeepSeek-V2, greedy", .deepseekV2(), "deepseek_v2", .softmax, normalise: false),
    Case(
      "DeepSeek-V2, nodes by their best expert",
      .deepseekV2([
        "topk_method": "group_limited_greedy", "n_group": 2, "topk_group": 1,
        "routed_scaling_factor": 16.0,
      ]), "deepseek_v2", .softmax, normalise: false, scale: 16, groups: best),
    Case(
      "DeepSeek-V2, norm_topk_prob ignored", .deepseekV2(["norm_topk_prob": true]), "deepseek_v2",
      .softmax, normalise: false),
    Case(
      "DeepSeek-V3", .deepseekV3(), "deepseek_v3", .sigmoid, normalise: true,
      guarding: .add(1e-20), scale: 2.5, groups: topTwo),
    Case(
      "Kimi-K2, one group",
      .deepseekV3(["n_group": 1, "routed_scaling_factor": 2.827], type: "kimi_k2"),
      "deepseek_v3", .sigmoid, normalise: true, guarding: .add(1e-20), scale: 2.827),
    Case(
      "Qwen2-MoE", .huggingFace("qwen2_moe", narrow), "qwen2_moe", .softmax, normalise: false),
    Case(
      "OLMoE", .huggingFace("olmoe", moe.merging(["norm_topk_prob": true]) { $1 }), "olmoe",
      .softmax, normalise: true),
    Case(
      "GLM-4.5",
      .huggingFace(
        "glm4_moe", ModelDraft.deepseekSettings, layers: [1],
        bias: "mlp.gate.e_score_correction_bias"), "glm4_moe", .sigmoid, normalise: true,
      guarding: .add(1e-20)),
    Case(
      "Phi-3.5-MoE",
      .huggingFace(
        "phimoe", moe, gate: "block_sparse_moe.gate", container: "block_sparse_moe.experts",
        projections: ModelDraft.numbered), "phimoe", .sparseMixer, normalise: false),
    Case(
      "MiniMax-M2",
      .huggingFace(
        "minimax_m2", moe, gate: "block_sparse_moe.gate", container: "block_sparse_moe.experts",
        projections: ModelDraft.numbered, bias: "block_sparse_moe.e_score_correction_bias"),
      "minimax_m2", .sigmoid, normalise: true),
    Case(
      "ERNIE-4.5",
      .huggingFace(
        "ernie4_5_moe",
        ["moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 6], layers: [1],
        bias: "mlp.moe_statics.e_score_correction_bias"), "ernie4_5_moe", .softmax,
      normalise: true, guarding: .clamp(1e-12)),
    Case(
      "dots.llm1",
      .huggingFace(
        "dots1", ModelDraft.deepseekSettings, layers: [1],
        bias: "mlp.gate.e_score_correction_bias"), "dots1", .sigmoid, normalise: false,
      guarding: .add(1e-20)),
    Case("Gemma-4", .gemma4, "gemma4", .softmax, normalise: true),
  ]

  static let llamaCpp = [
    Case("llama", .gguf("llama"), "mixtral", .softmax, normalise: true, guarding: clamp),
    Case("qwen3moe", .gguf("qwen3moe"), "qwen3_moe", .softmax, normalise: true, guarding: clamp),
    Case(
      "qwen3moe, key against the constant",
      .gguf("qwen3moe", ["expert_weights_norm": .bool(false)]), "qwen3_moe", .softmax,
      normalise: true, guarding: clamp),
    Case(
      "deepseek2, sigmoid", .deepseek2(), "deepseek_v3", .sigmoid, normalise: true,
      guarding: clamp, scale: 2.5, groups: topTwo),
    Case(
      "deepseek2, no gating function, selection bias",
      .deepseek2(without: ["expert_gating_func"]), "deepseek_v3", .softmax, normalise: true,
      guarding: clamp, scale: 2.5, groups: topTwo),
    Case(
      "deepseek2, no gating function, no bias",
      .deepseek2(without: ["expert_gating_func", "expert_weights_norm"], bias: false),
      "deepseek_v2", .softmax, normalise: false, guarding: clamp, scale: 2.5, groups: topTwo),
    Case(
      "deepseek2, scale 0 means 1",
      .deepseek2(["expert_weights_scale": .float32(0), "expert_gating_func": .uint32(1)]),
      "deepseek_v2", .softmax, normalise: true, guarding: clamp, groups: topTwo),
    Case(
      "deepseek2, no group keys",
      .deepseek2(without: ["expert_group_count", "expert_group_used_count"]), "deepseek_v3",
      .sigmoid, normalise: true, guarding: clamp, scale: 2.5),
    Case("qwen2moe", .gguf("qwen2moe"), "qwen2_moe", .softmax, normalise: false, guarding: clamp),
    Case("olmoe", .gguf("olmoe"), "olmoe", .softmax, normalise: false, guarding: clamp),
    Case(
      "group keys act for every architecture",
      .gguf("olmoe", ["expert_group_count": .uint32(2), "expert_group_used_count": .uint32(1)]),
      "olmoe", .softmax, normalise: false, guarding: clamp, groups: topTwo),
    Case(
      "glm4moe", .gguf("glm4moe", ["expert_weights_norm": .bool(true)], bias: true), "glm4_moe",
      .sigmoid, normalise: true, guarding: clamp),
    Case(
      "gpt-oss", .gptOSSFile, "gpt_oss", .softmaxOfSelected, normalise: false, guarding: clamp),
    Case("phimoe", .gguf("phimoe"), "phimoe", .softmax, normalise: true, guarding: clamp),
    Case(
      "granitemoe", .gguf("granitemoe"), "granitemoe", .softmax, normalise: true, guarding: clamp),
    Case(
      "minimax-m2", .gguf("minimax-m2", ["expert_gating_func": .uint32(2)], bias: true),
      "minimax_m2", .sigmoid, normalise: true, guarding: clamp),
    Case(
      "ernie4_5-moe",
      .gguf(
        "ernie4_5-moe",
        ["interleave_moe_layer_step": .uint32(1), "leading_dense_block_count": .uint32(1)],
        layers: [1]), "ernie4_5_moe", .softmax, normalise: true, guarding: clamp),
    Case(
      "dots1", .gguf("dots1", ["expert_gating_func": .uint32(4)]), "dots1", .sqrtSoftplus,
      normalise: false, guarding: clamp),
    Case("gemma4", .gemma4File, "gemma4", .softmax, normalise: true, guarding: clamp),
  ]

  @Test(arguments: transformers)
  func `safetensors follow transformers' rule`(_ test: Case) throws { try check(test) }

  @Test(arguments: llamaCpp)
  func `GGUF files follow llama.cpp's rule`(_ test: Case) throws { try check(test) }

  private func check(_ test: Case) throws {
    let layout = try test.draft.layout()
    #expect(layout.family.name == test.family)
    let layer = try #require(layout.layers.first)
    #expect(layer.rule == test.rule)
  }

  @Test func `every family is listed, and those with a prototype form come first`() {
    let have = Family.all.map(\.hasPrototypeForm)
    #expect(have == have.sorted { $0 && !$1 } && have.contains(true))
    #expect(Set(Family.all.map(\.name)).count == 39)
  }

  @Test(arguments: ["expert_used_count", "expert_feed_forward_length"])
  func `a GGUF's list that differs from layer to layer is refused`(key: String) throws {
    let draft = ModelDraft.gguf("qwen3moe", [key: .array(.uint32([2, 3]))])
    let error = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(error?.subject == "qwen3moe." + key && error?.code == .mismatch)
  }

  @Test func `a GGUF's top-k may be a list of one number`() throws {
    let draft = ModelDraft.gguf("qwen3moe", ["expert_used_count": .array(.uint32([2, 2]))])
    #expect(try draft.layout().layers.map(\.rule.topK) == [2, 2])
  }

  @Test func `the sparse mixer takes its jitter from the config`() throws {
    let settings = RoutingRuleTests.moe.merging(["router_jitter_noise": 0.25]) { $1 }
    var draft = ModelDraft.huggingFace(
      "phimoe", settings, gate: "mlp.router", container: "mlp.experts")
    #expect(try draft.layout().layers[0].rule.jitter == 0.25)
    draft.config["router_jitter_noise"] = -0.25
    let error = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(error?.subject == "router_jitter_noise" && error?.code == .mismatch)
  }
}

extension ModelDraft {
  static var gemma4: ModelDraft {
    var draft = ModelDraft()
    let settings: OrderedDictionary<String, JSONValue> = [
      "model_type": "gemma4_text", "hidden_size": 8, "num_hidden_layers": 2,
      "enable_moe_block": true, "num_experts": 4, "top_k_experts": 2, "moe_intermediate_size": 6,
    ]
    // As it is published: inside another model, beside a tower whose layers are not its own.
    var text: JSONValue = [:]
    for (key, value) in settings { text[key] = value }
    draft.config = ["model_type": "gemma4"]
    draft.config["text_config"] = text
    for layer in 0..<2 {
      let prefix = "model.language_model.layers.\(layer)."
      draft.add(prefix + "router.proj.weight", [4, 8])
      draft.add(prefix + "router.scale", [8])
      draft.add(prefix + "router.per_expert_scale", [4])
      draft.add(prefix + "pre_feedforward_layernorm_2.weight", [8])
      draft.add(prefix + "mlp.gate_proj.weight", [12, 8])
      draft.add(prefix + "experts.gate_up_proj", [4, 12, 8])
      draft.add(prefix + "experts.down_proj", [4, 8, 6])
    }
    draft.add("model.vision_tower.encoder.layers.0.mlp.up_proj.linear.weight", [6, 8])
    return draft
  }

  static var gemma4File: ModelDraft {
    var draft = gguf("gemma4", fusedGateUp: true)
    for layer in 0..<2 {
      draft.add("blk.\(layer).ffn_gate_inp.scale", [8])
      draft.add("blk.\(layer).ffn_down_exps.scale", [4])
      draft.add("blk.\(layer).pre_ffw_norm_2.weight", [8])
      draft.add("blk.\(layer).ffn_up.weight", [12, 8])
    }
    return draft
  }

  static var gptOSSFile: ModelDraft {
    var draft = gguf("gpt-oss")
    for layer in 0..<2 {
      draft.add("blk.\(layer).ffn_gate_inp.bias", [4])
      draft.add("blk.\(layer).ffn_gate_exps.bias", [4, 6])
      draft.add("blk.\(layer).ffn_up_exps.bias", [4, 6])
      draft.add("blk.\(layer).ffn_down_exps.bias", [4, 8])
    }
    return draft
  }
}
