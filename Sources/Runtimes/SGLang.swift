// SPDX-License-Identifier: Apache-2.0
//
// What SGLang loads. Run: 0.5.23 in its pure-torch code, without its kernels, on two CPU cores,
// with small trained Mixtral and Qwen3-MoE models; DeepSeek could not be run there. Read: 0.5.23.

import Architectures

extension CheckRule {
  private static let ran = "small models, run in its pure-torch code on a CPU, without its kernels"
  private static let newest = "0.5.23"
  private static let launch = "python -m sglang.launch_server --model-path MODEL"

  /// In the order in which findings of one level are reported.
  static let sglang: [CheckRule] = [
    CheckRule(
      "prototype-backend", .note,
      "loads by its Transformers backend and the Python files beside the weights",
      .measured(ran, in: newest), command: "\(launch) --trust-remote-code"
    ) {
      $0.prototype && $0.family.runtimes.sglang.runsPrototype && $0.reading.matches
        ? "model_type" : nil
    },
    CheckRule(
      "prototype-package", .note,
      "loads in its own class with Regate's package",
      .measured(ran, in: newest),
      command: "pip install tools/python && SGLANG_EXTERNAL_MODEL_PACKAGE=regate_serving.sglang "
        + "\(launch) --trust-remote-code"
    ) {
      $0.prototype && $0.family.runtimes.sglang.runsPrototypePackage && !$0.pluginRefusesNorm
        && $0.reading.matches ? "model_type" : nil
    },
    CheckRule(
      "prototype-no-backend", .note,
      "its Transformers backend does not load this family in the prototype form: the package is "
        + "needed",
      .measured("Mixtral, \(ran)", in: newest)
    ) {
      let sglang = $0.family.runtimes.sglang
      return $0.prototype && sglang.runsPrototypePackage && !sglang.runsPrototype
        ? "model_type" : nil
    },
    .pluginNorm("serve without the package"),
    CheckRule(
      "prototype-unknown", .refuses,
      "does not load this family in the prototype form; convert with `router` stock",
      .measured("DeepSeek-V3, \(ran)", in: newest)
    ) { $0.prototype && $0.family.runtimes.sglang.refusesPrototype ? "model_type" : nil },
    CheckRule(
      "prototype-locations", .note,
      "never use --enable-eplb or --init-expert-location with the Transformers backend: it loads "
        + "experts where they were moved to, routes by the old numbers and computes with wrong ones "
        + "in silence",
      .read("models/transformers.py, TransformersFusedMoE", in: newest)
    ) {
      $0.prototype && $0.family.runtimes.sglang.runsPrototype
        ? "--enable-eplb, --init-expert-location" : nil
    },
    CheckRule(
      "stock-runs", .note, "loads as the original does",
      .measured("stock outputs of \(ran)", in: newest), command: launch
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && $0.family.runtimes.sglang.ranStock
        && $0.quantisation == nil && $0.fusedExperts == nil && $0.reading.matches
        ? CheckSubject.whole : nil
    },
    CheckRule(
      "locations-absent", .note,
      "its class of this family takes no map of where experts lie: --init-expert-location and "
        + "--enable-eplb do nothing, and a renumbered checkpoint is what ranks get",
      .read("models/*.py: no get_model_config_for_expert_location", in: newest)
    ) {
      if case .absent = $0.family.runtimes.sglang.locations, !$0.isGGUF {
        "--enable-eplb, --init-expert-location"
      } else {
        nil
      }
    },
    CheckRule(
      "locations-wrong", .note,
      "routes by the old numbers where --enable-eplb or --init-expert-location moved experts and no "
        + "DeepEP is used: wrong outputs in silence; use a newer one",
      .read("models/qwen3_moe.py, forward_normal, and sglang#39580", in: newest),
      range: .before(newest)
    ) {
      if case .mappedLate = $0.family.runtimes.sglang.locations, !$0.isGGUF {
        "--enable-eplb, --init-expert-location"
      } else {
        nil
      }
    },
    .officialUnlisted(.read("models/*.py: mixtral_lpr and qwen3_moe_lpr are in none", in: newest)),
    CheckRule(
      "gguf-qwen-norm", .differs,
      "takes norm_topk_prob as false for a GGUF of this family: the weights are not renormalised",
      .read("models/qwen3_moe.py", in: newest)
    ) { $0.isGGUF && $0.family.runtimes.sglang.dropsGGUFNorm ? "norm_topk_prob" : nil },
    .mlxNames,
    CheckRule(
      "stray-bias-sglang", .drops,
      "this architecture has no selection bias: the tensor is left out without an error",
      .read("models/qwen3_moe.py, load_weights", in: newest)
    ) { !$0.isGGUF && !$0.prototype ? $0.strayBias : nil },
    .biasBF16,
    .fusedExperts,
    .quantisedMLX,
    .quantisedPackage,
    .twoModels,
    .mtpRouters,
  ]
}
