// SPDX-License-Identifier: Apache-2.0
//
// Where the runtimes disagree about a Hugging Face checkpoint.

import ByteStorage
import Checkpoints
import Routing

extension LayoutReader {
  static func warnings(
    _ family: Family, _ config: JSONValue, _ rule: RoutingRule, _ settings: inout Settings,
    _ moeLayers: [Int], _ layerCount: Int
  ) throws(RegateError) -> [String] {
    var warnings: [String] = []
    if config["model_type"]?.stringValue == "kimi_k2" {
      warnings.append(
        "model_type kimi_k2: transformers 5.23 does not register it, so it loads there only with"
          + " the code that comes with the model (trust_remote_code)")
    }
    switch family.name {
    case "deepseek_v2": warnings += try deepseekV2(rule, &settings)
    case "deepseek_v3": warnings += try deepseekV3(&settings)
    case "qwen3_moe", "qwen2_moe", "olmoe":
      warnings += qwen(family, rule, moeLayers.count, layerCount)
    case "phimoe":
      warnings.append(
        "transformers and vLLM route Phi-3.5-MoE by sparsemixer, llama.cpp by softmax with"
          + " renormalised weights: a GGUF of this model weighs experts differently")
    default: break
    }
    return warnings + (try layerFrequency(&settings))
  }

  private static func deepseekV2(
    _ rule: RoutingRule, _ settings: inout Settings
  ) throws(RegateError) -> [String] {
    var warnings: [String] = []
    if try settings.bool(Key("norm_topk_prob", default: false)) == true {
      warnings.append(
        "norm_topk_prob is true: transformers 5.23 ignores it for DeepSeek-V2, vLLM and llama.cpp"
          + " renormalise and then scale, the original code renormalises instead of scaling"
      )
    }
    if rule.groups != nil {
      warnings.append(
        "transformers and vLLM score an expert group by its best expert, llama.cpp by the sum of"
          + " its two best: a GGUF of this model can choose other experts")
    }
    return warnings
  }

  private static func deepseekV3(_ settings: inout Settings) throws(RegateError) -> [String] {
    var warnings: [String] = []
    for (key, expected, readers) in [
      ("scoring_func", "sigmoid", "vLLM and llama.cpp's converter"),
      ("topk_method", "noaux_tc", "vLLM"),
    ] {
      let found = try settings.string(Key(key, default: nil))
      guard found != expected else { continue }
      let state = found.map { "is \"\($0)\"" } ?? "is absent"
      warnings.append(
        "\(key) \(state): transformers routes DeepSeek-V3 by \(expected) all the same, but"
          + " \(readers) read the key and need \"\(expected)\"")
    }
    return warnings
  }

  private static func qwen(
    _ family: Family, _ rule: RoutingRule, _ moeLayers: Int, _ layerCount: Int
  ) -> [String] {
    var warnings: [String] = []
    // llama.cpp's constants: on for qwen3moe, off for qwen2moe and olmoe.
    let constant = family.name == "qwen3_moe"
    if rule.normalise != constant {
      warnings.append(
        "norm_topk_prob is \(rule.normalise), but llama.cpp always routes \(family.title) with it"
          + " \(constant ? "on" : "off"): a GGUF of this model weighs experts differently")
    }
    if moeLayers < layerCount {
      warnings.append(
        "\(layerCount - moeLayers) of \(layerCount) layers are dense: llama.cpp cannot load"
          + " \(family.title) with dense layers")
    }
    return warnings
  }

  /// transformers never reads `moe_layer_freq`; the models' original code and vLLM do.
  private static func layerFrequency(_ settings: inout Settings) throws(RegateError) -> [String] {
    let key = "moe_layer_freq"
    guard settings.has(key), case .all(let value)? = try settings.perLayer(Key(key, default: nil)),
      value != 1
    else { return [] }
    return ["\(key) is \(value): transformers ignores it, vLLM and the original code do not"]
  }
}
