// SPDX-License-Identifier: Apache-2.0
//
// What serving runtimes do with checkpoints, as data: the only place that says so. Versions that were
// read or run: transformers 5.23.0 (and 4.57.6), llama.cpp 0.5.0-dev, vLLM and SGLang of 2025/26,
// mlx-lm d78bf58.

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors

extension CheckRule {
  package static let all: [CheckRule] = forms + biases + routing + storage

  private static let mlxRun = "tools/interop/test_mlx.py, run with mlx 0.32.4 and mlx-lm 0.32.2"

  /// The prototype form and the containers.
  private static let forms = [
    CheckRule(
      "prototype-code", [.transformers], .note,
      "loads with trust_remote_code=True, by the Python files beside it; without them it is refused",
      source: "tools/interop/test_modelling.py, run with transformers 5.23.0 and 4.57.6",
      verified: true
    ) { $0.prototype ? "model_type" : nil },
    CheckRule(
      "prototype-unknown", [.vllm, .sglang], .refuses,
      "does not know the model type of the prototype form; convert with `router` stock",
      source: "model registries of both: model_type regate_* is in none"
    ) { $0.prototype ? "model_type" : nil },
    CheckRule(
      "mlx-model-type", [.mlx], .refuses,
      "does not support this model type; convert with `router` stock", source: mlxRun,
      verified: true
    ) { $0.prototype || $0.official ? "model_type" : nil },
    CheckRule(
      "official-unknown", [.transformers], .refuses,
      "does not know the model type of the official LPR code: load it there, or convert with "
        + "`router` lpr or stock",
      source: "tools/interop/test_official.py, run with transformers 5.23.0 and 4.57.6",
      verified: true
    ) { $0.official ? "model_type" : nil },
    CheckRule(
      "official-unlisted", [.vllm, .sglang], .refuses,
      "does not know the model type of the official LPR code; convert with `router` stock",
      source: "model registries of both: mixtral_lpr and qwen3_moe_lpr are in none"
    ) { $0.official ? "model_type" : nil },
    CheckRule(
      "needs-gguf", [.llamaCpp], .refuses,
      "reads GGUF only; convert the weights with convert_hf_to_gguf.py, which knows no prototype form",
      source: "llama.cpp src/llama-model-loader.cpp, convert_hf_to_gguf.py"
    ) { $0.isGGUF ? nil : CheckSubject.whole },
    CheckRule(
      "needs-safetensors", [.mlx], .refuses, "mlx-lm looks for model*.safetensors", source: mlxRun,
      verified: true
    ) { $0.isGGUF ? CheckSubject.whole : nil },
    CheckRule(
      "gguf-dequantised", [.transformers], .note,
      "reads GGUF only with gguf_file=, and decodes every weight on loading",
      source: "transformers documentation, GGUF"
    ) { $0.isGGUF ? CheckSubject.whole : nil },
    CheckRule(
      "gguf-split", [.vllm], .refuses, "does not read split GGUF files; merge them first",
      source: "vllm-gguf-plugin#54"
    ) { ($0.gguf?.parts.count ?? 1) > 1 ? "split.count" : nil },
    CheckRule(
      "gguf-qwen-norm", [.sglang], .differs,
      "takes norm_topk_prob as false for a Qwen3-MoE GGUF, so the weights are not renormalised",
      source: "SGLang srt/models/qwen3_moe.py"
    ) { $0.isGGUF && $0.family.runtimes.sglangDropsGGUFNorm ? "norm_topk_prob" : nil },
    CheckRule(
      "stock-loads", [.transformers], .note, "loads as the original does, without a missing tensor",
      source: "tools/interop/check_outputs.py, run with transformers 5.23.0", verified: true
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && $0.layout.tier == .convertible
        && $0.quantisation == nil && $0.mlxExperts == nil ? CheckSubject.whole : nil
    },
    CheckRule(
      "mlx-qwen-keys", [.mlx], .refuses,
      "wants num_experts and rope_theta beside the other keys; transformers 5 writes num_local_experts "
        + "and rope_parameters: add them to config.json",
      source: mlxRun, verified: true
    ) {
      guard !$0.isGGUF else { return nil }
      return $0.family.runtimes.mlx.requiredKeys.first {
        [config = $0.config] in config?[$0] == nil
      }
    },
    CheckRule(
      "mlx-rope", [.mlx], .differs,
      "looks for rope_theta beside the other keys and takes its own default where it is only in "
        + "rope_parameters: other positions than the model's; add the key to config.json",
      source: mlxRun, verified: true
    ) {
      let mlx = $0.family.runtimes.mlx
      guard let base = $0.nestedRopeBase, !$0.isGGUF, !mlx.requiredKeys.contains("rope_theta")
      else { return nil }
      return base == mlx.ropeBase ? nil : "rope_parameters"
    },
    CheckRule(
      "mlx-head-size", [.mlx], .refuses,
      "takes Mixtral's head size to be hidden_size / num_attention_heads, whatever head_dim says",
      source: mlxRun, verified: true
    ) {
      guard $0.family.runtimes.mlx.derivesHeadSize, let size = $0.config?["head_dim"]?.intValue,
        let heads = $0.config?["num_attention_heads"]?.intValue
      else { return nil }
      let (width, overflow) = size.multipliedReportingOverflow(by: heads)
      return !overflow && width == $0.layout.hiddenSize ? nil : "head_dim"
    },
    CheckRule(
      "mlx-loads", [.mlx], .note, "loads as the original does",
      source: mlxRun, verified: true
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && $0.layout.tier == .convertible
        && [nil, "mlx"].contains($0.quantisation) ? CheckSubject.whole : nil
    },
    CheckRule(
      "mlx-names", [.transformers, .vllm, .sglang, .llamaCpp], .refuses,
      "knows no experts under mlx-lm's name; use the checkpoint that it was made from",
      source: "mlx-lm models/*.py, sanitize; names of the four"
    ) { $0.mlxExperts },
    CheckRule(
      "gguf-loads", [.llamaCpp], .note, "loads as the original does",
      source: "tools/interop/check_outputs.py, run with llama.cpp 0.5.0-dev", verified: true
    ) { $0.isGGUF && $0.layout.tier == .convertible ? CheckSubject.whole : nil },
  ]

  /// Biases that act on selection only.
  private static let biases = [
    CheckRule(
      "stray-bias", [.transformers], .drops,
      "this architecture has no selection bias: the tensor is left out with a warning at most",
      source: "tools/interop/test_deployment.py, run with transformers 5.23.0", verified: true
    ) { !$0.isGGUF && !$0.prototype ? $0.strayBias : nil },
    CheckRule(
      "stray-bias-sglang", [.sglang], .drops,
      "this architecture has no selection bias: the tensor is left out without an error",
      source: "SGLang srt/models/qwen3_moe.py load_weights"
    ) { !$0.isGGUF && !$0.prototype ? $0.strayBias : nil },
    CheckRule(
      "stray-bias-vllm", [.vllm], .drops,
      "tensors whose names end in _bias and that the model lacks are skipped in silence",
      source: "vLLM models/qwen3_moe.py load_weights, ignore_suffixes"
    ) { !$0.isGGUF && !$0.family.runtimes.vllm.refusesStrayBias ? $0.strayBias : nil },
    CheckRule(
      "stray-bias-v2", [.vllm], .refuses,
      "DeepSeek classes raise KeyError for a bias that topk_method does not ask for",
      source: "vLLM models/deepseek_v2.py"
    ) { !$0.isGGUF && $0.family.runtimes.vllm.refusesStrayBias ? $0.strayBias : nil },
    CheckRule(
      "stray-bias-strict", [.mlx], .refuses, "loads strictly: parameters not in model",
      source: mlxRun,
      verified: true
    ) { !$0.isGGUF ? $0.strayBias : nil },
    CheckRule(
      "stray-bias-gguf", [.llamaCpp], .refuses,
      "a tensor that the architecture does not create: wrong number of tensors",
      source: "llama.cpp src/llama-model-loader.cpp:1392"
    ) { $0.isGGUF ? $0.strayBias : nil },
    CheckRule(
      "bias-method", [.vllm], .refuses,
      "makes the selection bias only where topk_method is noaux_tc, and stops at the tensor otherwise",
      source: "vLLM models/deepseek_v2.py"
    ) {
      guard let method = $0.family.runtimes.vllm.biasMethod, $0.biasType != nil, !$0.isGGUF else {
        return nil
      }
      return $0.config?["topk_method"]?.stringValue != method ? "topk_method" : nil
    },
    CheckRule(
      "bias-bf16", Runtime.allCases, .differs,
      "a selection bias with BF16's three digits moves many tokens to other experts than the F32 "
        + "values would; store it as F32",
      source: "sglang#37133, vllm#50761: 238 values become 8, 98.5 % of tokens change experts"
    ) {
      $0.biasType == .bf16 ? $0.layout.layers.lazy.compactMap(\.selectionBias?.name).first : nil
    },
  ]

  /// Where runtimes route one model by different rules.
  private static let routing = [
    CheckRule(
      "gguf-gating-absent", [.llamaCpp], .differs,
      "routes by softmax although the selection bias shows a model trained with sigmoid: wrong "
        + "experts and weights; convert the model to GGUF again",
      source: "llama-perplexity on such a file: 38.2 instead of 31.4", verified: true
    ) { subject in
      let gating = subject.setting("expert_gating_func") ?? "0"
      guard subject.family.assumedGGUFScoring == .softmax, gating == "0", subject.biasType != nil,
        subject.layout.layers.first?.rule.scoring == .softmax
      else { return nil }
      return subject.gguf.map { "\($0.architecture).expert_gating_func" }
    },
    CheckRule(
      "gguf-groups-absent", [.llamaCpp], .differs,
      "no expert groups in the file: chooses among all experts, also where the model has groups",
      source: "llama.cpp src/llama-graph.cpp, build_moe_ffn"
    ) {
      $0.family.gguf.publishedGroups != nil && $0.setting("expert_group_count") == nil
        ? $0.gguf.map { "\($0.architecture).expert_group_count" } : nil
    },
    CheckRule(
      "v2-group-score", [.llamaCpp], .differs,
      "scores an expert group by the sum of its two best experts; transformers and vLLM by the best "
        + "one: the GGUF and the safetensors of one model can choose different experts",
      source: "llama.cpp src/llama-graph.cpp, build_moe_ffn; transformers modeling_deepseek_v2.py"
    ) {
      $0.family.groupScoresDiffer && $0.layout.layers.first?.rule.groups != nil ? "n_group" : nil
    },
    CheckRule(
      "v2-renormalise", [.vllm, .llamaCpp], .differs,
      "renormalises the weights, as norm_topk_prob says; transformers ignores the key for DeepSeek-V2",
      source: "transformers 5.23 modeling_deepseek_v2.py; vLLM models/deepseek_v2.py"
    ) {
      $0.family.transformersIgnoresNorm
        && ($0.config?["norm_topk_prob"]?.boolValue == true
          || $0.setting("expert_weights_norm") == "true")
        ? "norm_topk_prob" : nil
    },
    CheckRule(
      "qwen-norm", [.llamaCpp], .differs,
      "always renormalises Qwen3-MoE's weights, whatever norm_topk_prob says",
      source: "llama.cpp src/models/qwen3moe.cpp"
    ) {
      $0.family.llamaCppForcesNorm && !$0.isGGUF
        && $0.layout.layers.first?.rule.normalise == false
        ? "norm_topk_prob" : nil
    },
    CheckRule(
      "qwen-dense-layers", [.llamaCpp], .refuses, "has no dense layers for this family",
      source: "llama.cpp src/models/qwen3moe.cpp"
    ) {
      !$0.family.llamaCppHasDenseLayers && $0.layout.layers.count < $0.layout.layerCount
        ? "mlp_only_layers" : nil
    },
    CheckRule(
      "kimi-code", [.transformers], .note,
      "does not register model_type kimi_k2: needs the code that comes with the model",
      source: "transformers 5.23 auto mappings"
    ) {
      let type = $0.config?["model_type"]?.stringValue
      return type.map($0.family.huggingFace.unregisteredTypes.contains) == true ? "model_type" : nil
    },
  ]

  /// How tensors are stored.
  private static let storage = [
    CheckRule(
      "fused-experts", [.vllm, .sglang], .drops,
      "knows one tensor per expert: fused ones raise KeyError or are skipped, and the output is "
        + "garbage; save the model again with transformers 5",
      source: "vllm#42577, #36997, #38882, #44953"
    ) { $0.isGGUF || $0.mlxExperts != nil ? nil : $0.fusedExperts },
    CheckRule(
      "fused-conversion", [.llamaCpp], .refuses,
      "the converter takes this family's experts one by one only",
      source: "llama.cpp convert_hf_to_gguf.py"
    ) {
      $0.isGGUF || $0.family.gguf.convertsFused || $0.mlxExperts != nil ? nil : $0.fusedExperts
    },
    CheckRule(
      "quantised-mlx", [.vllm, .sglang, .transformers, .llamaCpp], .refuses,
      "cannot read weights that MLX quantised", source: "mlx-lm utils.py; config key quantization"
    ) { $0.quantisation == "mlx" ? "quantization" : nil },
    CheckRule(
      "quantised-elsewhere", [.mlx], .refuses,
      "reads AWQ and GPTQ of dense models only: it does not runtime such experts, nor take g_idx",
      source: "run with mlx-lm 0.32.2 on files of autoawq 0.2.9 and gptqmodel 7.7.0", verified: true
    ) {
      guard let method = $0.quantisation, ["awq", "gptq"].contains(method) else { return nil }
      return "quant_method \(method)"
    },
    CheckRule(
      "quantised-otherwise", [.mlx], .refuses,
      "decodes FP8 of DeepSeek-V3 and no other such experts", source: "mlx-lm utils.py, models/*.py"
    ) {
      guard let method = $0.quantisation, !["mlx", "awq", "gptq"].contains(method),
        !$0.family.runtimes.mlx.decodes.contains(method)
      else { return nil }
      return "quant_method \(method)"
    },
    CheckRule(
      "quantised-experts", [.transformers], .drops,
      "release 5 holds all experts in one tensor: it leaves AWQ's and GPTQ's out and starts random ones, "
        + "with a report only; gptqmodel loads them",
      source: "run with transformers 5.23.0 and gptqmodel 7.7.0", verified: true
    ) { $0.expertsLeftOut ? "quant_method \($0.quantisation ?? "")" : nil },
    CheckRule(
      "quantised-package", [.transformers, .vllm, .sglang], .note,
      "needs support for this quantisation; the router itself is stored unquantised",
      source: "quantization_config of the checkpoint"
    ) {
      guard let method = $0.quantisation, method != "mlx" else { return nil }
      return "quant_method \(method)"
    },
    CheckRule(
      "two-models", [.vllm, .sglang, .mlx], .differs,
      "reads other files than transformers, which prefers model.safetensors to the index: remove one",
      source: "vLLM weight_utils.py; mlx-lm utils.py"
    ) {
      guard let checkpoint = $0.safetensors, checkpoint.index == nil,
        checkpoint.partNames == ["model.safetensors"]
      else { return nil }
      return checkpoint.otherWeights.first {
        $0.hasPrefix("model-") && $0.hasSuffix(".safetensors")
      }
    },
    CheckRule(
      "stray-shards", [.mlx], .differs,
      "merges every model*.safetensors of the folder, those of no index too: remove the file",
      source: "mlx-lm utils.py, glob"
    ) {
      guard $0.safetensors?.index != nil else { return nil }
      return $0.safetensors?.otherWeights.first {
        $0.hasPrefix("model") && $0.hasSuffix(".safetensors")
      }
    },
    CheckRule(
      "format-metadata", [.transformers], .note,
      "releases before 5 refuse a shard whose __metadata__ lacks format; 5 does not mind",
      source: "transformers 4 modeling_utils.py, load_state_dict"
    ) {
      $0.safetensors?.parts.first {
        $0.metadata.map { !["pt", "tf", "flax", "mlx"].contains($0["format"] ?? "") } ?? false
      }?.file.path.lastPathComponent
    },
    CheckRule(
      "mtp-routers", Runtime.allCases, .note,
      "the router of a multi-token-prediction layer acts only where drafts are made with it; convert "
        + "leaves it as it is without `mtp`",
      source: "transformers 5.23 modeling_deepseek_v3.py ignores these layers"
    ) { $0.layout.extraRouters.first?.gate.name },
  ]
}
