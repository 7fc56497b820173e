// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Tensors
import Testing

/// What is refused, and that the error names the key or tensor at fault.
struct LayoutErrorTests {
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let draft: ModelDraft
    let code: RegateError.Code
    let subject: String
    let words: String

    init(
      _ name: String, _ base: ModelDraft, _ code: RegateError.Code, subject: String,
      _ words: String, _ change: (inout ModelDraft) -> Void = { _ in }
    ) {
      testDescription = name
      var draft = base
      change(&draft)
      self.draft = draft
      self.code = code
      self.subject = subject
      self.words = words
    }
  }

  static let expert3 = "model.layers.1.mlp.experts.3.up_proj.weight"
  static let gate = "model.layers.0.mlp.gate.weight"

  static let configuration = [
    Case(
      "unknown family", .huggingFace("qwen3_mor", [:]), .unsupported, subject: "model_type",
      "nearest supported family is Qwen3-MoE (\"qwen3_moe\")"),
    Case("no model_type", .qwen3(), .missing, subject: "model_type", "absent") {
      $0.config["model_type"] = nil
    },
    Case(
      "no hidden_size, so the class's", .qwen3(["hidden_size": nil]), .mismatch,
      subject: "mlp.gate.weight",
      "config.json: hidden_size is absent there, for which transformers takes 2048"),
    Case(
      "no layer count, so the class's 24", .qwen3(["num_hidden_layers": nil]), .missing,
      subject: "model.layers.2.mlp.gate.weight", "no such tensor"),
    Case(
      "no layers", .qwen3(["num_hidden_layers": 0]), .mismatch, subject: "num_hidden_layers",
      "1 to 4096"),
    Case(
      "absurdly many layers", .qwen3(["num_hidden_layers": 2_000_000_000]), .mismatch,
      subject: "num_hidden_layers", "1 to 4096"),
    Case(
      "a count beyond any model", .qwen3(["num_experts": .integer(Int.max)]), .malformed,
      subject: "num_experts", "expected a whole number"),
    Case(
      "negative count", .qwen3(["num_experts": -4]), .malformed, subject: "num_experts", "is -4"),
    Case(
      "a count that is text", .qwen3(["num_experts": "four"]), .malformed, subject: "num_experts",
      "is \"four\", expected a whole number"),
    Case(
      "a flag that is a number", .qwen3(["norm_topk_prob": 1]), .malformed,
      subject: "norm_topk_prob", "expected true or false"),
    Case(
      "V2 without top-k", .deepseekV2(["num_experts_per_tok": nil]), .missing,
      subject: "num_experts_per_tok", "absent"),
    Case(
      "more chosen than there are", .qwen3(["num_experts_per_tok": 5]), .mismatch,
      subject: "num_experts_per_tok", "expected 1 to 4"),
    Case(
      "none chosen", .qwen3(["num_experts_per_tok": 0]), .mismatch,
      subject: "num_experts_per_tok", "expected 1 to 4"),
    Case(
      "experts not divisible by groups", .deepseekV3(["n_group": 3]), .mismatch,
      subject: "n_group", "does not divide the 4 experts"),
    Case(
      "groups of one expert", .deepseekV3(["n_group": 4, "topk_group": 2]), .mismatch,
      subject: "n_group", "sum of two"),
    Case(
      "more groups kept than there are", .deepseekV3(["topk_group": 3]), .mismatch,
      subject: "topk_group", "1 to 2 groups"),
    Case(
      "too few experts in the kept groups", .deepseekV3(["num_experts_per_tok": 3]), .mismatch,
      subject: "topk_group", "only 2 experts"),
    Case(
      "V2 with another topk_method", .deepseekV2(["topk_method": "noaux_tc"]), .unsupported,
      subject: "topk_method", "group_limited_greedy"),
    Case(
      "V2 with groups but no count", .deepseekV2(["topk_method": "group_limited_greedy"]),
      .missing, subject: "n_group", "absent"),
    Case(
      "scale 0", .deepseekV3(["routed_scaling_factor": 0.0]), .mismatch,
      subject: "routed_scaling_factor", "above 0"),
    Case(
      "sparse step 0", .qwen3(["decoder_sparse_step": 0]), .malformed,
      subject: "decoder_sparse_step", "from 1"),
    Case(
      "every layer dense", .qwen3(["mlp_only_layers": [0, 1]]), .mismatch, subject: "",
      "all 2 layers dense"),
    Case(
      "a bad block size", .qwen3(["quantization_config": ["weight_block_size": [128, 0]]]),
      .malformed, subject: "quantization_config.weight_block_size", "[128, 128]"),
    Case(
      "three experts for the sparse mixer",
      .huggingFace(
        "phimoe", ["num_local_experts": 4, "num_experts_per_tok": 3, "intermediate_size": 6]),
      .mismatch, subject: "num_experts_per_tok", "chooses 2"),
  ]

  static let tensors = [
    Case("expert 3's up_proj is missing", .qwen3(), .missing, subject: expert3, "4 experts") {
      $0.tensors[expert3] = nil
    },
    Case(
      "no expert has a down_proj", .qwen3(), .missing,
      subject: "model.layers.0.mlp.experts.0.down_proj.weight", "no such tensor"
    ) { $0.tensors = $0.tensors.filter { !$0.key.contains("down_proj") } },
    Case(
      "Mixtral's published name is asked for", .mixtral, .missing,
      subject: "model.layers.0.block_sparse_moe.experts.0.w3.weight", "no such tensor"
    ) { $0.tensors = $0.tensors.filter { !$0.key.contains(".w3.") } },
    Case("no router", .qwen3(), .missing, subject: gate, "makes layer 0 an MoE layer") {
      $0.tensors[gate] = nil
    },
    Case("no tensors of the model", .qwen3(), .missing, subject: gate, "no such tensor") {
      $0.tensors = [:]
      $0.add("lm_head.weight", [8, 8])
    },
    Case(
      "a router of another width", .qwen3(), .mismatch, subject: gate,
      "has shape [4, 7], expected [4, 8]"
    ) { $0.add(gate, [4, 7]) },
    Case(
      "config and tensors disagree on the number of experts", .qwen3(["num_experts": 8]),
      .mismatch, subject: gate, "expected [8, 8]"),
    Case("a router of integers", .qwen3(), .unsupported, subject: gate, "quantised (U32)") {
      $0.add(gate, [4, 1], .u32)
    },
    Case(
      "a GPTQ router", .qwen3(), .unsupported, subject: "model.layers.0.mlp.gate.qweight",
      "quantised"
    ) {
      $0.tensors[gate] = nil
      $0.add("model.layers.0.mlp.gate.qweight", [1, 4], .i32)
    },
    Case(
      "a router in a dense layer", .qwen3(["mlp_only_layers": [0]]), .mismatch, subject: gate,
      "makes it a dense layer"),
    Case(
      "a fifth expert", .qwen3(), .mismatch,
      subject: "model.layers.0.mlp.experts.4.up_proj.weight", "(0 to 3)"
    ) { $0.add("model.layers.0.mlp.experts.4.up_proj.weight", [6, 8]) },
    Case("a matrix of another shape", .qwen3(), .mismatch, subject: expert3, "expected [6, 8]") {
      $0.add(expert3, [8, 6])
    },
    Case(
      "a scale of one expert is missing", .qwen3(), .missing,
      subject: "model.layers.0.mlp.experts.1.up_proj.weight_scale_inv", "no such tensor"
    ) { $0.add("model.layers.0.mlp.experts.0.up_proj.weight_scale_inv", [1, 1]) },
    Case(
      "experts stored twice", .qwen3(), .mismatch, subject: "model.layers.0.mlp.experts",
      "second time"
    ) { $0.add("model.layers.0.mlp.experts.gate_up_proj", [4, 12, 8]) },
    Case(
      "a fused tensor of too few experts", .qwen3(), .mismatch,
      subject: "model.layers.0.mlp.experts.gate_up_proj", "4 experts in its first dimension"
    ) { $0.add("model.layers.0.mlp.experts.gate_up_proj", [3, 12, 8]) },
    Case(
      "a selection bias of another length", .deepseekV3(), .mismatch,
      subject: "model.layers.1.mlp.gate.e_score_correction_bias", "expected [4]"
    ) { $0.add("model.layers.1.mlp.gate.e_score_correction_bias", [5]) },
    Case(
      "a selection bias in one layer only", .deepseekV3(["first_k_dense_replace": 0]), .missing,
      subject: "model.layers.0.mlp.gate.e_score_correction_bias", "other layers have one"
    ) { draft in
      for (name, tensor) in draft.tensors where !name.contains("bias") {
        draft.tensors[name.replacing("layers.1", with: "layers.0")] = tensor
      }
    },
  ]

  static let gguf = [
    Case(
      "experts that compute nothing", .huggingFace("longcat_flash", [:]), .unsupported,
      subject: "model_type", "experts that compute nothing"),
    Case(
      "unknown architecture", .gguf("qwen3mo"), .unsupported, subject: "general.architecture",
      "nearest supported family is Qwen3-MoE (\"qwen3moe\")"),
    Case(
      "a dense llama", .gguf("llama", ["expert_count": .uint32(0)]), .unsupported,
      subject: "llama.expert_count", "dense model"),
    Case("no block_count", .gguf("llama"), .missing, subject: "llama.block_count", "absent") {
      $0.metadata["llama.block_count"] = nil
    },
    Case(
      "no expert_used_count", .gguf("llama"), .missing, subject: "llama.expert_used_count", "absent"
    ) { $0.metadata["llama.expert_used_count"] = nil },
    Case(
      "no expert width where none stands in", .deepseek2(), .missing,
      subject: "deepseek2.expert_feed_forward_length", "absent"
    ) { $0.metadata["deepseek2.expert_feed_forward_length"] = nil },
    Case(
      "an unknown gating function", .deepseek2(["expert_gating_func": .uint32(9)]), .unsupported,
      subject: "deepseek2.expert_gating_func", "is 9"),
    Case(
      "no gating function where llama.cpp has no default", .gguf("minimax-m2", bias: true),
      .missing, subject: "minimax-m2.expert_gating_func", "no default"),
    Case(
      "all groups kept", .deepseek2(["expert_group_used_count": .uint32(2)]), .mismatch,
      subject: "deepseek2.expert_group_used_count", "unless it is smaller"),
    Case(
      "a selection bias that llama.cpp needs", .gguf("glm4moe"), .missing,
      subject: "blk.0.exp_probs_b.bias", "does not load GLM-4.5 without it"),
    Case(
      "one tensor per expert", .gguf("llama"), .unsupported, subject: "blk.0.ffn_gate.0.weight",
      "no longer loads"
    ) { $0.add("blk.0.ffn_gate.0.weight", [6, 8]) },
    Case(
      "a router of bare integers", .gguf("llama"), .unsupported,
      subject: "blk.0.ffn_gate_inp.weight", "quantised (I8)"
    ) { $0.add("blk.0.ffn_gate_inp.weight", [4, 8], .i8) },
    Case(
      "transposed experts", .gguf("llama"), .mismatch, subject: "blk.1.ffn_up_exps.weight",
      "expected [4, 6, 8]"
    ) { $0.add("blk.1.ffn_up_exps.weight", [4, 8, 6]) },
    Case(
      "no down projections", .gguf("llama"), .missing, subject: "blk.0.ffn_down_exps.weight",
      "no such tensor"
    ) { $0.tensors["blk.0.ffn_down_exps.weight"] = nil },
    Case(
      "top-k for one layer of two",
      .gguf("llama", ["expert_used_count": .array(.uint32([2]))]), .mismatch,
      subject: "llama.expert_used_count", "no value for layer 1"),
    Case(
      "more nextn blocks than blocks", .gguf("llama", ["nextn_predict_layers": .uint32(3)]),
      .mismatch, subject: "llama.block_count", "is -1"),
  ]

  @Test(arguments: configuration + tensors + gguf)
  func `a damaged checkpoint is refused by name`(_ test: Case) throws {
    do {
      let layout = try test.draft.layout()
      Issue.record("read as \(layout.family.name)")
    } catch let error as RegateError {
      #expect(error.code == test.code, "\(error)")
      #expect(error.subject?.contains(test.subject) ?? test.subject.isEmpty, "\(error)")
      #expect(error.description.contains(test.words), "\(error)")
    }
  }

  @Test func `a checkpoint without config.json asks for it`() throws {
    var draft = ModelDraft.qwen3()
    draft.config = .null
    let error = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(error?.code == .missing)
    #expect(error?.description.contains("there is no config.json beside the tensors") == true)
  }
}
