// SPDX-License-Identifier: Apache-2.0
//
// What SGLang loads. Run: 0.5.23 in its pure-torch code, without its kernels, on two CPU cores,
// with small trained Mixtral and Qwen3-MoE models; DeepSeek could not be run there. Read: 0.5.23,
// models/qwen3_moe.py of 2026, issues of 2025 and 2026.

import Architectures

extension CheckRule {
  /// In the order in which findings of one level are reported.
  static let sglang: [CheckRule] = [
    CheckRule(
      "prototype-backend", .note,
      "loads with --trust-remote-code, by its Transformers backend and the Python files beside it, "
        + "or with Regate's package (tools/python, SGLANG_EXTERNAL_MODEL_PACKAGE) in its own class",
      source: "a small model, run in its pure-torch code on a CPU, without its kernels",
      versions: "0.5.23", verified: true, confirms: true
    ) {
      $0.prototype && $0.family.runtimes.sglang.runsPrototype && $0.reading.matches
        ? "model_type" : nil
    },
    CheckRule(
      "prototype-locations", .note,
      "do not use --enable-eplb or --init-expert-location with the Transformers backend: it never "
        + "maps logical to physical experts, and would compute with wrong ones in silence",
      source: "SGLang TransformersMoEForCausalLM, its wrapper of experts", versions: "0.5.23"
    ) { $0.prototype && $0.family.runtimes.sglang.runsPrototype ? "model_type" : nil },
    CheckRule(
      "prototype-package", .note,
      "loads with Regate's package (tools/python, SGLANG_EXTERNAL_MODEL_PACKAGE) and "
        + "--trust-remote-code; without the package it is refused",
      source: "Mixtral, a small model, run in its pure-torch code on a CPU, without its kernels",
      versions: "0.5.23", verified: true, confirms: true
    ) {
      $0.prototype && $0.family.runtimes.sglang.runsPrototypePackage && $0.reading.matches
        ? "model_type" : nil
    },
    CheckRule(
      "prototype-unknown", .refuses,
      "does not load this family in the prototype form; convert with `router` stock",
      source: "DeepSeek-V3, a small model, run in its pure-torch code on a CPU",
      versions: "0.5.23", verified: true
    ) {
      let sglang = $0.family.runtimes.sglang
      return $0.prototype && !sglang.runsPrototype && !sglang.runsPrototypePackage
        ? "model_type" : nil
    },
    CheckRule(
      "stock-runs", .note, "loads as the original does",
      source: "stock outputs of small models, run in its pure-torch code on a CPU",
      versions: "0.5.23", verified: true, confirms: true
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && $0.family.runtimes.sglang.ranStock
        && $0.quantisation == nil && $0.fusedExperts == nil && $0.reading.matches
        ? CheckSubject.whole : nil
    },
    .officialUnlisted,
    CheckRule(
      "gguf-qwen-norm", .differs,
      "takes norm_topk_prob as false for a GGUF of this family: the weights are not renormalised",
      source: "SGLang srt/models/qwen3_moe.py", versions: "of 2026"
    ) { $0.isGGUF && $0.family.runtimes.sglang.dropsGGUFNorm ? "norm_topk_prob" : nil },
    .mlxNames,
    CheckRule(
      "stray-bias-sglang", .drops,
      "this architecture has no selection bias: the tensor is left out without an error",
      source: "SGLang srt/models/qwen3_moe.py load_weights", versions: "of 2026"
    ) { !$0.isGGUF && !$0.prototype ? $0.strayBias : nil },
    .biasBF16,
    .fusedExperts,
    .quantisedMLX,
    .quantisedPackage,
    .twoModels,
    .mtpRouters,
  ]
}
