// SPDX-License-Identifier: Apache-2.0
//
// Where the runtimes disagree about a checkpoint: what its family's file says, and what follows
// from how the family is read.

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing

extension LayoutReader {
  /// Of a Hugging Face checkpoint.
  static func configWarnings(
    _ subject: inout CaveatSubject, modelType: String?
  ) throws(RegateError) -> [String] {
    let traits = subject.family.huggingFace
    var warnings = untypedWarning(subject.family, modelType)
    if let modelType, traits.unregisteredTypes.contains(modelType) {
      warnings.append(
        "model_type \(modelType): transformers 5.23 does not register it, so it loads there only"
          + " with the code that comes with the model (trust_remote_code)")
    }
    for caveat in traits.caveats {
      if let warning = try caveat(&subject) { warnings.append(warning) }
    }
    return warnings + layerFrequency(subject.settings) + ignoredWindow(subject)
  }

  /// A window that hides tokens in transformers, of a family for which llama.cpp has none.
  private static func ignoredWindow(_ subject: CaveatSubject) -> [String] {
    var settings = subject.settings
    guard subject.family.gguf.architecture != nil,
      let window = subject.family.mixer?.groupedQuery?.window,
      let key = window.ignoredByLlamaCpp(settings, layers: subject.layerCount),
      let size = (try? settings.integer(key)) ?? nil
    else { return [] }
    let context = Key(
      "max_position_embeddings", default: subject.family.huggingFace.defaults.context)
    guard size < ((try? settings.integer(context)) ?? nil) ?? .max else { return [] }
    return [
      "\(subject.name(key.names[0])) is \(size), but llama.cpp has no windows for"
        + " \(subject.title): in a GGUF of this model every token sees all before it"
    ]
  }

  /// Of a checkpoint whose family is told by `architectures` alone.
  private static func untypedWarning(_ family: Family, _ modelType: String?) -> [String] {
    let known = family.huggingFace.modelTypes
    if let modelType,
      known.contains(modelType) || family.huggingFace.borrowedTypes.contains(modelType)
    {
      return []
    }
    return [
      "model_type is \(modelType.map { "\"\($0)\"" } ?? "absent"), and only \"architectures\" says"
        + " \(family.title): transformers goes by model_type, so it refuses this, or loads what comes"
        + " with the model (trust_remote_code); of \(family.title) it is"
        + " \(known.map { "\"\($0)\"" }.joined(separator: " or "))"
    ]
  }

  /// transformers never reads `moe_layer_freq`; the models' original code and vLLM do.
  private static func layerFrequency(_ settings: Settings) -> [String] {
    let key = "moe_layer_freq"
    guard let text = settings.text(of: key), let value = Double(text), value != 1 else { return [] }
    return ["\(key) is \(text): transformers ignores it, vLLM and the original code do not"]
  }

  /// Of a GGUF file.
  static func ggufWarnings(_ subject: inout CaveatSubject) throws(RegateError) -> [String] {
    var warnings: [String] = []
    for caveat in subject.family.gguf.caveats {
      if let warning = try caveat(&subject) { warnings.append(warning) }
    }
    warnings += try unreadKeys(subject.family, &subject.settings)
    if let groups = subject.rule.groups, subject.family.huggingFace.routing.groups == nil {
      warnings.append(
        "\(subject.name("expert_group_count")) is set: llama.cpp limits \(subject.title) to"
          + " \(groups.kept) of \(groups.count) expert groups, transformers does not")
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
    for (key, constant) in [("yarn_beta_fast", 32.0), ("yarn_beta_slow", 1.0)] {
      let name = "rope.scaling." + key
      if let value = try settings.number(Key(name, default: nil)), value != constant {
        warnings.append(
          "\(settings.scope)\(name) is \(value), but llama.cpp always takes \(constant) for"
            + " \(family.title); transformers computes with what the configuration says")
      }
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
