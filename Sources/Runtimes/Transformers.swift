// SPDX-License-Identifier: Apache-2.0
//
// What transformers loads. Run: 5.23.0 and 4.57.6; the prototype form in others, too. Read: 5.23.0.

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections

extension CheckRule {
  /// In the order in which findings of one level are reported.
  static let transformers = prototypeCode + others

  private static let others: [CheckRule] = [
    CheckRule(
      "official-unknown", .refuses,
      "does not know the model type of the official LPR code: load it there, or convert with "
        + "`router` lpr or stock",
      .measured("tools/interop/test_official.py", in: "4.57.6", "5.23.0")
    ) { $0.official ? "model_type" : nil },
    CheckRule(
      "gguf-dequantised", .unknown,
      "reads GGUF only with gguf_file=, and decodes every weight on loading",
      .unverified("transformers documentation, GGUF")
    ) { $0.isGGUF ? CheckSubject.whole : nil },
    CheckRule(
      "stock-loads", .note, "finds every parameter that its class creates, in its shape",
      .measured("tools/interop/check_mutations.py", in: "5.23.0"),
      command: #"AutoModelForCausalLM.from_pretrained("MODEL")"#
    ) {
      !$0.prototype && !$0.official && !$0.isGGUF && $0.quantisation == nil && $0.reading.matches
        ? CheckSubject.whole : nil
    },
    .mlxNames,
    .biasBF16,
    CheckRule(
      "kimi-code", .note,
      "does not register model_type kimi_k2: needs the code that comes with the model",
      .read("auto mappings", in: "5.23.0")
    ) {
      let type = $0.config?["model_type"]?.stringValue
      return type.map($0.family.huggingFace.unregisteredTypes.contains) == true ? "model_type" : nil
    },
    CheckRule(
      "auto-map-null", .refuses, "looks for its class in it, and stops at null: remove the key",
      .measured("a small model", in: "5.23.0")
    ) { $0.config?["auto_map"]?.isNull == true ? "auto_map" : nil },
    .quantisedMLX,
    CheckRule(
      "quantised-experts", .drops,
      "release 5 holds all experts in one tensor: it leaves AWQ's and GPTQ's out and starts "
        + "random ones, with a report only; gptqmodel loads them",
      .measured("files of gptqmodel 7.7.0", in: "5.23.0")
    ) { $0.expertsLeftOut ? "quant_method \($0.quantisation ?? "")" : nil },
    .quantisedPackage,
    CheckRule(
      "format-metadata", .note,
      "refuse a shard whose __metadata__ lacks format",
      .unverified("transformers 4 modeling_utils.py, load_state_dict"), range: .before("5.0.0")
    ) {
      $0.safetensors?.parts.first {
        $0.metadata.map { !["pt", "tf", "flax", "mlx"].contains($0["format"] ?? "") } ?? false
      }?.file.path.lastPathComponent
    },
    .mtpRouters,
  ]

  private static let prototypeCode = ran(\.prototypeTransformers) { versions, isOfThese in
    CheckRule(
      "prototype-code", .note,
      "loads with trust_remote_code=True, by the Python files beside it; without them it is "
        + "refused",
      .measured(
        "tools/interop/test_modelling.py, test_families.py, serving/in_transformers.py",
        in: versions),
      command: #"AutoModelForCausalLM.from_pretrained("MODEL", trust_remote_code=True)"#
    ) { $0.prototype && isOfThese($0) && $0.reading.matches ? "model_type" : nil }
  }
}
