// SPDX-License-Identifier: Apache-2.0
//
// Rules that several runtimes share; each runtime's own file says where in its order they stand.

import Architectures
import Checkpoints
import OrderedCollections
import Tensors

extension CheckRule {
  /// A rule for each list of versions in which something of some families was run; `rule` gets the
  /// list, and whether a checkpoint is of one of these families.
  static func ran(
    _ versions: @escaping @Sendable (RuntimeTraits) -> [String],
    rule: ([String], @escaping @Sendable (CheckSubject) -> Bool) -> CheckRule
  ) -> [CheckRule] {
    let lists = OrderedSet(Family.all.map { versions($0.runtimes) }).filter { !$0.isEmpty }
    return lists.map { list in rule(list) { versions($0.family.runtimes) == list } }
  }

  /// vLLM, SGLang.
  static func officialUnlisted(_ registry: Evidence) -> CheckRule {
    CheckRule(
      "official-unlisted", .refuses,
      "does not know the model type of the official LPR code; convert with `router` stock", registry
    ) { $0.official ? "model_type" : nil }
  }

  /// vLLM, SGLang.
  static func pluginNorm(_ advice: String) -> CheckRule {
    CheckRule(
      "plugin-norm", .note,
      "Regate's plugin refuses this family where weights are not renormalised: \(advice)",
      .read("tools/python/regate_serving")
    ) { $0.pluginRefusesNorm ? "norm_topk_prob" : nil }
  }

  /// transformers, vLLM, SGLang, llama.cpp.
  static let mlxNames = CheckRule(
    "mlx-names", .refuses,
    "knows no experts under mlx-lm's name; use the checkpoint that it was made from",
    .read("mlx-lm d78bf58 models/*.py, sanitize; names of the four")
  ) { $0.mlxExperts }

  /// All five.
  static let biasBF16 = CheckRule(
    "bias-bf16", .differs,
    "a selection bias with BF16's three digits moves many tokens to other experts than the F32 "
      + "values would; store it as F32",
    .unverified("sglang#37133, vllm#50761: 238 values become 8, 98.5 % of tokens change experts")
  ) {
    $0.biasType == .bf16 ? $0.layout.layers.lazy.compactMap(\.selectionBias?.name).first : nil
  }

  /// vLLM, llama.cpp.
  static func v2Renormalise(_ reading: Evidence) -> CheckRule {
    CheckRule(
      "v2-renormalise", .differs,
      "renormalises the weights, as norm_topk_prob says; transformers 5.23 ignores the key for "
        + "this family",
      reading
    ) {
      $0.family.transformersIgnoresNorm
        && ($0.config?["norm_topk_prob"]?.boolValue == true
          || $0.setting("expert_weights_norm") == "true")
        ? "norm_topk_prob" : nil
    }
  }

  /// vLLM, SGLang.
  static let fusedExperts = CheckRule(
    "fused-experts", .drops,
    "knows one tensor per expert: fused ones raise KeyError or are skipped, and the output is "
      + "garbage; save the model again with transformers 5",
    .unverified("vllm#42577, #36997, #38882, #44953; by reading, vLLM 0.33.0 knows fused names")
  ) {
    // Some families are published so.
    if case .fused = $0.family.huggingFace.names.published { return nil }
    return $0.isGGUF || $0.mlxExperts != nil ? nil : $0.fusedExperts
  }

  /// vLLM, SGLang, transformers, llama.cpp.
  static let quantisedMLX = CheckRule(
    "quantised-mlx", .refuses,
    "cannot read weights that MLX quantised",
    .read("mlx-lm d78bf58 utils.py; config key quantization")
  ) { $0.quantisation == "mlx" ? "quantization" : nil }

  /// transformers, vLLM, SGLang.
  static let quantisedPackage = CheckRule(
    "quantised-package", .unknown,
    "needs a package for this quantisation, and what it makes of these weights is not known here; "
      + "the router itself is stored unquantised",
    .unverified("quantization_config of the checkpoint")
  ) {
    guard let method = $0.quantisation, method != "mlx" else { return nil }
    return "quant_method \(method)"
  }

  /// vLLM, SGLang, mlx-lm.
  static let twoModels = CheckRule(
    "two-models", .differs,
    "reads other files than transformers, which prefers model.safetensors to the index: remove one",
    .read("vLLM 0.33.0 and SGLang 0.5.23 weight_utils.py; mlx-lm d78bf58 utils.py")
  ) {
    guard let checkpoint = $0.safetensors, checkpoint.index == nil,
      checkpoint.partNames == ["model.safetensors"]
    else { return nil }
    return checkpoint.otherWeights.first {
      $0.hasPrefix("model-") && $0.hasSuffix(".safetensors")
    }
  }

  /// All five.
  static let mtpRouters = CheckRule(
    "mtp-routers", .note,
    "the router of a multi-token-prediction layer acts only where drafts are made with it; convert "
      + "leaves it as it is without `mtp`",
    .read("transformers 5.23.0 modeling_deepseek_v3.py ignores these layers")
  ) { $0.layout.extraRouters.first?.gate.name }
}
