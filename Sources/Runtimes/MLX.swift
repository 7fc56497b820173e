// SPDX-License-Identifier: Apache-2.0
//
// What mlx-lm loads. Run: mlx 0.32.4 and mlx-lm 0.32.2 on a CPU. Read: mlx-lm d78bf58 (2026-08-22).

import Architectures
import Checkpoints

extension CheckRule {
  private static let run = Evidence.measured("tools/interop/test_mlx.py, mlx 0.32.4", in: "0.32.2")

  /// In the order in which findings of one level are reported.
  static let mlx: [CheckRule] = [
    CheckRule(
      "mlx-model-type", .refuses,
      "does not support this model type; convert with `router` stock", run
    ) { $0.prototype || $0.official ? "model_type" : nil },
    CheckRule(
      "needs-safetensors", .refuses, "mlx-lm looks for model*.safetensors", run
    ) { $0.isGGUF ? CheckSubject.whole : nil },
    CheckRule(
      "mlx-qwen-keys", .refuses,
      "wants num_experts and rope_theta beside the other keys; transformers 5 writes "
        + "num_local_experts and rope_parameters: add them to config.json",
      run
    ) {
      guard !$0.isGGUF else { return nil }
      return $0.family.runtimes.mlx.requiredKeys.first {
        [config = $0.config] in config?[$0] == nil
      }
    },
    CheckRule(
      "mlx-rope", .differs,
      "looks for rope_theta beside the other keys and takes its own default where it is only in "
        + "rope_parameters: other positions than the model's; add the key to config.json",
      run
    ) {
      let mlx = $0.family.runtimes.mlx
      guard let base = $0.nestedRopeBase, !$0.isGGUF, !mlx.requiredKeys.contains("rope_theta")
      else { return nil }
      return base == mlx.ropeBase ? nil : "rope_parameters"
    },
    CheckRule(
      "mlx-head-size", .refuses,
      "takes this family's head size to be hidden_size / num_attention_heads, whatever head_dim "
        + "says",
      run
    ) {
      guard $0.family.runtimes.mlx.derivesHeadSize, let size = $0.config?["head_dim"]?.intValue,
        let heads = $0.config?["num_attention_heads"]?.intValue
      else { return nil }
      let (width, overflow) = size.multipliedReportingOverflow(by: heads)
      return !overflow && width == $0.layout.hiddenSize ? nil : "head_dim"
    },
    CheckRule(
      "mlx-loads", .note, "loads as the original does",
      run, command: "mlx_lm.generate --model MODEL --prompt TEXT"
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && $0.family.runtimes.mlx.ranStock
        && ($0.quantisation == "mlx" || $0.quantisation == nil && $0.reading.matches)
        ? CheckSubject.whole : nil
    },
    CheckRule(
      "stray-bias-strict", .refuses, "loads strictly: parameters not in model", run
    ) { !$0.isGGUF ? $0.strayBias : nil },
    .biasBF16,
    CheckRule(
      "quantised-elsewhere", .refuses,
      "reads AWQ and GPTQ of dense models only: it does not stack such experts, nor take g_idx",
      .measured("files of autoawq 0.2.9 and gptqmodel 7.7.0", in: "0.32.2")
    ) {
      guard let method = $0.quantisation, ["awq", "gptq"].contains(method) else { return nil }
      return "quant_method \(method)"
    },
    CheckRule(
      "quantised-otherwise", .refuses,
      "decodes FP8 of DeepSeek-V3 and no other such experts",
      .read("mlx-lm d78bf58 utils.py, models/*.py")
    ) {
      guard let method = $0.quantisation, !["mlx", "awq", "gptq"].contains(method),
        !$0.family.runtimes.mlx.decodes.contains(method)
      else { return nil }
      return "quant_method \(method)"
    },
    .twoModels,
    CheckRule(
      "stray-shards", .differs,
      "merges every model*.safetensors of the folder, those of no index too: remove the file",
      .read("mlx-lm d78bf58 utils.py, glob")
    ) {
      guard $0.safetensors?.index != nil else { return nil }
      return $0.safetensors?.otherWeights.first {
        $0.hasPrefix("model") && $0.hasSuffix(".safetensors")
      }
    },
    .mtpRouters,
  ]
}
