// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp does with a GGUF file that its user might not expect.

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing

extension LayoutReader {
  static func warnings(
    _ family: Family, _ checkpoint: GGUFCheckpoint, _ rule: RoutingRule,
    _ settings: inout Settings
  ) throws(RegateError) -> [String] {
    var warnings: [String] = []
    if checkpoint.architecture == "deepseek2" {
      warnings += gating(family, rule, settings)
      warnings += groups(family, rule, settings)
      warnings += weights(family, settings)
    }
    warnings += try unreadKeys(family, &settings)
    if rule.groups != nil, family.huggingFace.routing.groups == nil {
      warnings.append(
        "\(settings.scope)expert_group_count is set: llama.cpp limits \(family.title) to"
          + " \(rule.groups?.kept ?? 0) of \(rule.groups?.count ?? 0) expert groups, transformers"
          + " does not")
    }
    return warnings
  }

  /// A `deepseek2` file without a gating function: softmax, whatever the model was trained with.
  private static func gating(
    _ family: Family, _ rule: RoutingRule, _ settings: Settings
  ) -> [String] {
    let key = "expert_gating_func"
    let value = settings.read[settings.scope + key]
    guard value == nil || value?.isDefault == true || value?.value == "0" else { return [] }
    guard family.name == "deepseek_v3", rule.scoring == .softmax else { return [] }
    return [
      "\(settings.scope)\(key) is absent: llama.cpp routes this file by softmax, although its"
        + " selection bias (exp_probs_b) shows a model that was trained with sigmoid"
        + " (DeepSeek-V3, Kimi-K2); convert it again, or expect wrong experts and weights"
    ]
  }

  private static func groups(
    _ family: Family, _ rule: RoutingRule, _ settings: Settings
  ) -> [String] {
    if !settings.has("expert_group_count") {
      let published =
        family.name == "deepseek_v3"
        ? "DeepSeek-V3 and R1 use 4 of 8 groups, Kimi-K2 none"
        : "DeepSeek-V2 uses 3 of 8 groups, V2-Lite none"
      return [
        "\(settings.scope)expert_group_count is absent: llama.cpp chooses among all experts, with"
          + " no group limit (\(published)); if the model has groups, this file and its"
          + " safetensors source can choose different experts"
      ]
    }
    guard family.name == "deepseek_v2", rule.groups != nil else { return [] }
    return [
      "llama.cpp scores an expert group by the sum of its two best experts, transformers scores"
        + " DeepSeek-V2's by the best one: this file and its safetensors source can choose"
        + " different experts"
    ]
  }

  private static func weights(_ family: Family, _ settings: Settings) -> [String] {
    var warnings: [String] = []
    let norm = settings.read[settings.scope + "expert_weights_norm"]
    if family.name == "deepseek_v3", norm?.isDefault ?? true {
      warnings.append(
        "\(settings.scope)expert_weights_norm is absent: llama.cpp does not renormalise the"
          + " weights, DeepSeek-V3 was trained with renormalised ones")
    }
    if family.name == "deepseek_v2", norm?.value == "true" {
      warnings.append(
        "\(settings.scope)expert_weights_norm is true: llama.cpp renormalises the weights,"
          + " transformers 5.23 does not for DeepSeek-V2")
    }
    if settings.read[settings.scope + "expert_weights_scale"]?.isDefault ?? true {
      warnings.append(
        "\(settings.scope)expert_weights_scale is absent: llama.cpp does not scale the weights"
          + " (DeepSeek-V3 uses 2.5, V2 16, V2-Lite 1)")
    }
    return warnings
  }

  /// Keys that say something else than the constants of an architecture that does not read them.
  private static func unreadKeys(
    _ family: Family, _ settings: inout Settings
  ) throws(RegateError) -> [String] {
    var warnings: [String] = []
    let traits = family.gguf.routing
    if case .fixed(let constant) = traits.normalise,
      let value = try settings.bool(Key("expert_weights_norm", default: nil)), value != constant
    {
      warnings.append(
        "\(settings.scope)expert_weights_norm is \(value), but llama.cpp always routes"
          + " \(family.title) with it \(constant ? "on" : "off")")
    }
    if case .one = traits.scale,
      let value = try settings.number(Key("expert_weights_scale", default: nil)), value != 0,
      value != 1
    {
      warnings.append(
        "\(settings.scope)expert_weights_scale is \(value), but llama.cpp does not read it for"
          + " \(family.title)")
    }
    if case .fixed(let constant) = traits.scoring,
      let value = try settings.integer(Key("expert_gating_func", default: nil)), value != 0,
      GatingFunction(rawValue: value)?.scoring != constant
    {
      warnings.append(
        "\(settings.scope)expert_gating_func is \(value), but llama.cpp always routes"
          + " \(family.title) by \(constant.rawValue)")
    }
    return warnings
  }
}
