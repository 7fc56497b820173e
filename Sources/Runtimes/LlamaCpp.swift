// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp loads. Run and read: 0.5.0-dev (ggml 0.25.3).

import Architectures
import Checkpoints
import Routing

extension CheckRule {
  private static let version = "0.5.0-dev"

  /// In the order in which findings of one level are reported.
  static let llamaCpp: [CheckRule] = [
    CheckRule(
      "needs-gguf", .refuses,
      "reads GGUF only; convert the weights with convert_hf_to_gguf.py, which knows no "
        + "prototype form",
      .read("src/llama-model-loader.cpp, convert_hf_to_gguf.py", in: version)
    ) { $0.isGGUF ? nil : CheckSubject.whole },
    .mlxNames,
    CheckRule(
      "gguf-loads", .note, "loads as the original does",
      .measured("tools/interop/check_mutations.py", in: version), command: "llama-server -m MODEL"
    ) { $0.isGGUF && $0.family.gguf.made.wasRun && $0.reading.matches ? CheckSubject.whole : nil },
    CheckRule(
      "gguf-types", .refuses,
      "loads it and stops when it first computes with it: it multiplies by no matrix of F64 or "
        + "integers, and norms must be F32",
      .measured("llama-perplexity on such files", in: version)
    ) { $0.uncomputedGGUFTensor },
    .biasBF16,
    CheckRule(
      "gguf-gating-absent", .differs,
      "routes by softmax although the selection bias shows a model trained with sigmoid: wrong "
        + "experts and weights; convert the model to GGUF again",
      .measured("llama-perplexity on such a file: 38.2 instead of 31.4", in: version)
    ) { subject in
      let gating = subject.setting("expert_gating_func") ?? "0"
      guard subject.family.assumedGGUFScoring == .softmax, gating == "0", subject.biasType != nil,
        subject.layout.layers.first?.rule.scoring == .softmax
      else { return nil }
      return subject.gguf.map { "\($0.architecture).expert_gating_func" }
    },
    CheckRule(
      "gguf-groups-absent", .differs,
      "no expert groups in the file: chooses among all experts, also where the model has groups",
      .read("src/llama-graph.cpp, build_moe_ffn", in: version)
    ) {
      $0.family.gguf.publishedGroups != nil && $0.setting("expert_group_count") == nil
        ? $0.gguf.map { "\($0.architecture).expert_group_count" } : nil
    },
    CheckRule(
      "v2-group-score", .differs,
      "scores an expert group by the sum of its two best experts; transformers and vLLM by the "
        + "best one: the GGUF and the safetensors of one model can choose different experts",
      .read(
        "src/llama-graph.cpp, build_moe_ffn; transformers 5.23.0 modeling_deepseek_v2.py",
        in: version)
    ) {
      $0.family.groupScoresDiffer && $0.layout.layers.first?.rule.groups != nil ? "n_group" : nil
    },
    .v2Renormalise(.read("src/llama-graph.cpp, build_moe_ffn", in: version)),
    CheckRule(
      "qwen-norm", .differs,
      "always renormalises this family's weights, whatever norm_topk_prob says",
      .read("src/models/qwen3moe.cpp", in: version)
    ) {
      $0.family.llamaCppForcesNorm && !$0.isGGUF
        && $0.layout.layers.first?.rule.normalise == false
        ? "norm_topk_prob" : nil
    },
    CheckRule(
      "qwen-dense-layers", .refuses, "has no dense layers for this family",
      .read("src/models/qwen3moe.cpp", in: version)
    ) {
      !$0.family.llamaCppHasDenseLayers && $0.layout.layers.count < $0.layout.layerCount
        ? "mlp_only_layers" : nil
    },
    CheckRule(
      "fused-conversion", .refuses,
      "the converter takes this family's experts one by one only",
      .read("convert_hf_to_gguf.py", in: version)
    ) {
      $0.isGGUF || $0.family.gguf.convertsFused || $0.mlxExperts != nil ? nil : $0.fusedExperts
    },
    .quantisedMLX,
    .mtpRouters,
  ]
}
