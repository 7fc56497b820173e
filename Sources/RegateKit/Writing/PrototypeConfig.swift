// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
package import OrderedCollections
package import Routing

/// `config.json` of the prototype form: the original's keys, another `model_type`, the classes that
/// load it, and a `regate` object that says how to read the routers.
package enum PrototypeConfig {
  /// `config` with the prototype form's keys.
  static func patched(
    _ config: JSONValue, family: Family, layers: [LayerPatch]
  ) throws(RegateError) -> JSONValue {
    var sizes: OrderedDictionary<String, JSONValue> = [:]
    var form = PrototypeRouter.LatentForm()
    for patch in layers {
      guard case .prototype(let router) = patch.router else { continue }
      form = router.form
      sizes[String(patch.layer.index)] = .integer(router.latentSize)
    }
    return try patched(
      config, family: family, form: form, latentSizes: sizes,
      routers: layers.map { PrototypeRouterFormat.module(of: $0.layer.gate.name) })
  }

  /// `config` with the prototype form's keys; `routers` are the names of the modules that hold them.
  package static func patched(
    _ config: JSONValue, family: Family, form: PrototypeRouter.LatentForm = .init(),
    latentSizes: OrderedDictionary<String, JSONValue>, routers: [String]
  ) throws(RegateError) -> JSONValue {
    try requireLoadable(config, family: family)
    let prefix = try PrototypeModelling.classPrefix(of: family)
    var prototype = config
    prototype["architectures"] = [.string(prefix + "ForCausalLM")]
    // A type of ours: kimi_k2, for one, becomes regate_deepseek_v3.
    prototype["model_type"] = .string(PrototypeForm.modelTypePrefix + family.name)
    prototype["auto_map"] = autoMap(config["auto_map"], prefix: prefix)
    if let quantisation = config["quantization_config"] {
      prototype["quantization_config"] = keeping(routers, outOf: quantisation)
    }
    var mark: JSONValue = [
      "version": .integer(PrototypeForm.version),
      "base_model_type": config["model_type"] ?? .null,
      "router": "lpr", "encoder": .string(form.encoder.rawValue),
      "similarity": .string(form.similarity.rawValue),
      "latent_size": .object(latentSizes),
    ]
    if family.forms.guardsActivation {
      mark[PrototypeForm.activationKey] = config[PrototypeForm.activationKey] ?? "silu"
      prototype[PrototypeForm.activationKey] = .string(PrototypeForm.activationGuard)
    }
    prototype[PrototypeForm.key] = mark
    return prototype
  }

  /// Refuses what the modelling files cannot load.
  static func requireLoadable(_ config: JSONValue, family: Family) throws(RegateError) {
    guard config["model_type"]?.stringValue != nil else {
      throw RegateError(.missing, file: "config.json", subject: "model_type", "is not there")
    }
    _ = try PrototypeModelling.classPrefix(of: family)
    guard config["hidden_size"] != nil else {
      throw RegateError(
        .unsupported, file: "config.json",
        "is that of a multimodal wrapper, for which the prototype form has no modelling files",
        advice: "use --router stock")
    }
  }

  /// Our classes instead of the configuration and models of the original; its tokenizer stays.
  private static func autoMap(_ original: JSONValue?, prefix: String) -> JSONValue {
    var map = original?.objectValue ?? [:]
    map.removeAll { $0.key == "AutoConfig" || $0.key.hasPrefix("AutoModel") }
    map["AutoConfig"] = .string("configuration_regate.\(prefix)Config")
    map["AutoModel"] = .string("modeling_regate.\(prefix)Model")
    map["AutoModelForCausalLM"] = .string("modeling_regate.\(prefix)ForCausalLM")
    return .object(map)
  }

  /// A quantisation that lists the modules it left alone (FP8 and AWQ, compressed-tensors) with
  /// the routers among them. None gets a list that had none: a list replaces transformers'
  /// defaults, which keep the output head out.
  static func keeping(_ routers: [String], outOf quantisation: JSONValue) -> JSONValue {
    var result = quantisation
    for key in ["modules_to_not_convert", "ignore"] {
      guard let listed = quantisation[key]?.arrayValue else { continue }
      let missing = routers.map(JSONValue.string).filter { !listed.contains($0) }
      result[key] = .array(listed + missing)
    }
    return result
  }
}
