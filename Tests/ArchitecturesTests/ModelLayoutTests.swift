// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors
import TestSupport
import Testing

struct ModelLayoutTests {
  @Test func `sizes, layers and settings of a Qwen3-MoE checkpoint`() throws {
    let layout = try ModelDraft.qwen3().layout()
    #expect(layout.hiddenSize == 8 && layout.layerCount == 2)
    #expect(layout.layers.map(\.index) == [0, 1])
    #expect(layout.layers.allSatisfy { $0.expertWidth == 6 && $0.sharedExperts == 0 })
    #expect(layout.warnings == [] && layout.undecodable == nil && layout.unclonable == nil)
    #expect(
      layout.settings.contains(Setting(key: "num_experts", value: "4", isDefault: false)))
    #expect(
      layout.settings.contains(Setting(key: "decoder_sparse_step", value: "1", isDefault: true)))
  }

  @Test func `transformers 5 spells Qwen3-MoE's num_experts as num_local_experts`() throws {
    let draft = ModelDraft.qwen3(["num_experts": nil, "num_local_experts": 4])
    #expect(try draft.layout().layers[0].rule.experts == 4)
  }

  @Test func `decoder_sparse_step and mlp_only_layers make layers dense`() throws {
    let stepped = ModelDraft.qwen3(
      ["num_hidden_layers": 6, "decoder_sparse_step": 2, "mlp_only_layers": [3]], layers: [1, 5])
    #expect(try stepped.layout().layers.map(\.index) == [1, 5])
  }

  @Test func `leading dense layers and shared experts of DeepSeek-V3`() throws {
    let layout = try ModelDraft.deepseekV3().layout()
    #expect(layout.layers.map(\.index) == [1])
    #expect(layout.layers[0].sharedExperts == 1)
    #expect(layout.layers[0].shared.count == 3)
    #expect(layout.layers[0].selectionBias?.name.hasSuffix("e_score_correction_bias") == true)
  }

  @Test func `ERNIE's interval, start and end`() throws {
    let draft = ModelDraft.huggingFace(
      "ernie4_5_moe",
      [
        "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 6, "num_hidden_layers": 9,
        "moe_layer_interval": 2, "moe_layer_start_index": 3, "moe_layer_end_index": 6,
      ], layers: [3, 5])
    #expect(try draft.layout().layers.map(\.index) == [3, 5])
  }

  @Test func `the router of a multi-token-prediction layer is listed apart`() throws {
    var draft = ModelDraft.deepseekV3(["num_nextn_predict_layers": 1])
    draft.add("model.layers.2.mlp.gate.weight", [4, 8])
    draft.add("mtp.layers.0.mlp.gate.weight", [4, 8])
    let layout = try draft.layout()
    #expect(layout.layers.map(\.index) == [1])
    #expect(layout.extraRouters.map(\.layer) == ["model.layers.2.", "mtp.layers.0."])
  }

  @Test func `layers beyond the configured number are not taken for multi-token prediction`() throws
  {
    let layout = try ModelDraft.qwen3(layers: [0, 1, 2, 3]).layout()
    #expect(layout.layers.map(\.index) == [0, 1] && layout.extraRouters.isEmpty)
    let error = #expect(throws: RegateError.self) {
      try ModelDraft.qwen3(layers: [0, 1, 2, 3]).layout(mtp: true)
    }
    #expect(error?.subject == "`mtp`")
    // Of a family that has such layers, they are those that say so, or the last ones.
    var draft = ModelDraft.deepseekV3()
    for layer in 2...4 { draft.add("model.layers.\(layer).mlp.gate.weight", [4, 8]) }
    #expect(try draft.layout().extraRouters.map(\.index) == [4])
    draft.add("model.layers.3.eh_proj.weight", [8, 16])
    #expect(try draft.layout().extraRouters.map(\.index) == [3])
  }

  @Test func `nextn blocks of a GGUF are not model layers`() throws {
    let draft = ModelDraft.gguf(
      "glm4moe",
      [
        "leading_dense_block_count": .uint32(1), "nextn_predict_layers": .uint32(1),
        "block_count": .uint32(3),
      ], layers: [1, 2], bias: true)
    let layout = try draft.layout()
    #expect(layout.layerCount == 2 && layout.layers.map(\.index) == [1])
    #expect(layout.extraRouters.map(\.layer) == ["blk.2."])
    let asked = try draft.layout(mtp: true)
    #expect(asked.layerCount == 2 && asked.layers.map(\.index) == [1, 2])
    #expect(asked.extraRouters.isEmpty && asked.includesMTP)
  }

  @Test func `multi-token-prediction layers of GLM-4.5 and others follow the model's own if asked`()
    throws
  {
    var draft = ModelDraft.huggingFace(
      "glm4_moe",
      [
        "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
        "n_shared_experts": 1, "first_k_dense_replace": 1, "num_nextn_predict_layers": 1,
      ], layers: [1, 2], bias: "mlp.gate.e_score_correction_bias")
    let published = try draft.layout()
    #expect(published.layers.map(\.index) == [1] && !published.includesMTP)
    #expect(published.extraRouters.map(\.gate.name) == ["model.layers.2.mlp.gate.weight"])
    // A router under another prefix cannot be told to be like the model's own.
    draft.add("mtp.layers.0.mlp.gate.weight", [4, 8])
    let asked = try draft.layout(mtp: true)
    #expect(asked.layers.map(\.index) == [1, 2] && asked.includesMTP)
    #expect(asked.extraRouters.map(\.layer) == ["mtp.layers.0."])
    let error = #expect(throws: RegateError.self) {
      try ModelDraft.qwen3().layout(mtp: true)
    }
    #expect(error?.subject == "`mtp`")
  }

  @Test(arguments: ["model.language_model.", "language_model.model."])
  func `a multimodal wrapper keeps keys in text_config and prefixes tensors`(
    prefix: String
  ) throws {
    var draft = ModelDraft.qwen3()
    let text = draft.config
    draft.config = ["model_type": "some_vision_model", "text_config": text]
    draft.rename("model.layers", to: prefix + "layers")
    draft.add("vision_tower.encoder.layers.0.mlp.fc1.weight", [8, 8])
    let layout = try draft.layout()
    #expect(layout.family.name == "qwen3_moe" && layout.prefix == prefix)
    #expect(layout.settings.contains { $0.key == "text_config.num_experts" })
  }

  @Test func `of a thinker and a talker with experts, the thinker's language model is read`() throws
  {
    var draft = ModelDraft.qwen3()
    let text = draft.config
    draft.config = ["model_type": "some_omni_model", "thinker_config": ["text_config": text]]
    draft.rename("model.layers", to: "thinker.model.layers")
    for layer in 0..<3 { draft.add("talker.model.layers.\(layer).mlp.gate.weight", [4, 8]) }
    let layout = try draft.layout()
    #expect(layout.family.name == "qwen3_moe" && layout.prefix == "thinker.model.")
    #expect(layout.settings.contains { $0.key == "thinker_config.text_config.num_experts" })
    #expect(layout.extraRouters.map(\.layer).allSatisfy { $0.hasPrefix("talker.") })
    #expect(layout.extraRouters.count == 3)
  }

  @Test func `an unknown model_type with a known class is that class's family`() throws {
    var draft = ModelDraft.deepseekV3(type: "vendor_special")
    draft.config["architectures"] = ["DeepseekV3ForCausalLM"]
    #expect(try draft.layout().family.name == "deepseek_v3")
  }

  @Test func `names of transformers 5 in memory are read as published ones are`() throws {
    var draft = ModelDraft.mixtral
    draft.rename("block_sparse_moe.gate", to: "mlp.gate")
    draft.rename("block_sparse_moe.experts", to: "mlp.experts")
    let layout = try draft.fused(projections: ModelDraft.numbered).layout()
    let parts = layout.layers[0].experts
    #expect(parts.map(\.role) == [.gateUp, .down])
    #expect(parts.allSatisfy { $0.kind == .weight && !$0.transposed })
    #expect(layout.layers[0].gate.name == "model.layers.0.mlp.gate.weight")
  }

  @Test func `GPT-OSS: biases, MXFP4 blocks and scales, all fused`() throws {
    let layout = try ModelDraft.gptOSS().layout()
    let layer = layout.layers[0]
    #expect(layer.gateBias?.name == "model.layers.0.mlp.router.bias")
    #expect(layer.rule.scoring == .softmaxOfSelected && !layer.rule.normalise)
    #expect(layer.experts.map(\.role) == [.gateUp, .gateUp, .gateUp, .down, .down, .down])
    #expect(Set(layer.experts.prefix(3).map(\.kind)) == [.bias, .packedWeight, .scale])
    #expect(layout.undecodable == nil)
    #expect(layout.activation == .clampedSwiGLU(alpha: 1.702, limit: 7))
  }

  @Test(arguments: ["router.bias", "experts.gate_up_proj_bias", "experts.down_proj_bias"])
  func `a bias of GPT-OSS that is absent or misshapen is named`(bias: String) throws {
    let name = "model.layers.0.mlp." + bias
    var draft = ModelDraft.gptOSS()
    draft.tensors[name] = nil
    let absent = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(absent?.code == .missing && absent?.subject == name)
    draft.add(name, [4, 3])
    let misshapen = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(misshapen?.code == .mismatch && misshapen?.subject == name)
  }

  @Test func `blocks of MXFP4 without scales, or in another shape, are not decoded`() throws {
    let name = "model.layers.0.mlp.experts.down_proj_"
    var draft = ModelDraft.gptOSS()
    draft.tensors[name + "scales"] = nil
    #expect(try draft.layout().undecodable?.contains("no scale stands beside it") == true)
    draft = ModelDraft.gptOSS()
    draft.add(name + "blocks", [4, 32, 16], .u8)
    #expect(try draft.layout().undecodable?.contains("expected [32, 1, 16]") == true)
    draft = ModelDraft.gptOSS()
    draft.add(name + "scales", [4, 32, 1], .bf16)
    #expect(try draft.layout().undecodable?.contains("no exponents of U8") == true)
  }

  @Test func `the numbers of the clamped SwiGLU are the configuration's`() throws {
    var draft = ModelDraft.gptOSS()
    draft.config["swiglu_limit"] = 2.5
    #expect(try draft.layout().activation == .clampedSwiGLU(alpha: 1.702, limit: 2.5))
    draft.config["swiglu_limit"] = "7"
    let error = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(error?.subject == "swiglu_limit")
    // The class reads no activation's name.
    draft.config["swiglu_limit"] = nil
    draft.config["hidden_act"] = "relu"
    #expect(try draft.layout().undecodable == nil)
  }

  @Test func `Granite's fused linears`() throws {
    var draft = ModelDraft()
    draft.config = [
      "model_type": "granitemoe", "hidden_size": 8, "num_hidden_layers": 1,
      "num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6,
    ]
    let name = "model.layers.0.block_sparse_moe."
    draft.add(name + "router.layer.weight", [4, 8])
    draft.add(name + "input_linear.weight", [4, 12, 8])
    draft.add(name + "output_linear.weight", [4, 8, 6])
    draft.add("model.layers.0.shared_mlp.input_linear.weight", [12, 8])
    let layer = try draft.layout().layers[0]
    #expect(layer.experts.map(\.role) == [.gateUp, .down])
    #expect(layer.rule.scoring == .softmaxOfSelected)
    #expect(layer.sharedExperts == 1 && layer.shared.count == 1)
  }

  @Test func `the router decodes to a matrix and its bias`() throws {
    let directory = try TemporaryDirectory()
    let checkpoint = try ModelDraft.deepseekV3().safetensors(in: directory)
    let layout = try ModelLayout.read(checkpoint)
    let router = try layout.layers[0].router(from: checkpoint)
    let name = "model.layers.1.mlp.gate.weight"
    #expect(router.gate.rows == 4 && router.gate.columns == 8)
    #expect(router.gate.values == (0..<32).map { ModelDraft.value(name, $0) })
    let bias = "model.layers.1.mlp.gate.e_score_correction_bias"
    #expect(router.selectionBias == (0..<4).map { ModelDraft.value(bias, $0) })
    #expect(router.gateBias == nil)
  }

  @Test func `feed_forward_length stands in for an absent expert width`() throws {
    var mixtral = ModelDraft.gguf("llama")
    mixtral.metadata["llama.expert_feed_forward_length"] = nil
    #expect(try mixtral.layout().layers[0].expertWidth == 6)
    // llama.cpp does not read the key of its own for this architecture.
    let stated = ModelDraft.gguf("llama", ["expert_feed_forward_length": .uint32(5)])
    #expect(try stated.layout().layers[0].expertWidth == 6)
    var qwen = ModelDraft.gguf("qwen3moe", ["feed_forward_length": .uint32(12)])
    qwen.metadata["qwen3moe.expert_feed_forward_length"] = nil
    #expect(try qwen.layout().layers[0].expertWidth == 6)
  }

  @Test(arguments: [ModelDraft.gemma4, .gemma4File])
  func `the dense network beside Gemma-4's experts counts as a shared one`(
    draft: ModelDraft
  ) throws {
    let layout = try draft.layout()
    let isGGUF = layout.container == .gguf
    #expect(layout.prefix == (isGGUF ? "" : "model.language_model."))
    for layer in layout.layers {
      #expect(layer.sharedExperts == 1 && layer.shared.count == 1 && layer.unplaced.isEmpty)
      let scales = layer.experts.filter { $0.kind == .outputScale }
      #expect(scales.count == 1 && scales[0].role == .down && scales[0].experts == 4)
      #expect(scales[0].slice(expert: 2).bytes == 8..<12)
      #expect(layer.routerInput != nil && layer.experts.count == 3)
    }
    #expect(layout.warnings.isEmpty && layout.undecodable == nil)
  }
}

extension ModelDraft {
  /// GPT-OSS as it is published, of one layer.
  static func gptOSS(_ settings: OrderedDictionary<String, JSONValue> = [:]) -> ModelDraft {
    var draft = ModelDraft()
    draft.config = [
      "model_type": "gpt_oss", "hidden_size": 32, "num_hidden_layers": 1, "num_local_experts": 4,
      "num_experts_per_tok": 2, "intermediate_size": 32,
    ]
    for (key, value) in settings { draft.config[key] = value }
    let name = "model.layers.0.mlp."
    draft.add(name + "router.weight", [4, 32])
    draft.add(name + "router.bias", [4])
    draft.add(name + "experts.gate_up_proj_blocks", [4, 64, 1, 16], .u8)
    draft.add(name + "experts.gate_up_proj_scales", [4, 64, 1], .u8)
    draft.add(name + "experts.gate_up_proj_bias", [4, 64])
    draft.add(name + "experts.down_proj_blocks", [4, 32, 1, 16], .u8)
    draft.add(name + "experts.down_proj_scales", [4, 32, 1], .u8)
    draft.add(name + "experts.down_proj_bias", [4, 32])
    return draft
  }
}
