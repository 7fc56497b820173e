// SPDX-License-Identifier: Apache-2.0
//
// The prototype form (`RouterForm.lpr`): tensors of its own under the gate's module, a `model_type`
// of its own, and the Python files that load it in transformers (`Modelling/*.py` of this module,
// embedded in the binary).

package import Architectures
package import ByteStorage
package import Checkpoints
package import OrderedCollections
package import Routing

package struct PrototypeOutput: OutputForm {
  package init() {}

  package var replacesGate: Bool { true }

  package func requirePossible(_ model: Model) throws(RegateError) {
    guard model.checkpoint.container != .gguf else {
      throw RegateError(
        .refused, subject: "`router` lpr", "no GGUF runtime can load the prototype router",
        advice: "use `router` stock")
    }
    if let config = model.checkpoint.config {
      _ = try ModellingClasses(of: config, family: model.layout.family)
    }
  }

  package func router(in fitted: FittedRouters) -> (any Router)? { fitted.prototype }

  package func tensors(
    of fitted: FittedRouters, layer: MoELayer, keepsBiasType: Bool
  ) throws(RegateError) -> RouterTensors {
    RouterTensors(
      replacing: layer,
      by: try PrototypeRouterFormat.tensors(of: fitted.prototype, gate: layer.gate.name))
  }

  package func configuration(
    _ config: JSONValue, family: Family, layers: [(layer: MoELayer, routers: FittedRouters)]
  ) throws(RegateError) -> JSONValue? {
    var sizes: OrderedDictionary<String, JSONValue> = [:]
    for (layer, routers) in layers {
      sizes[String(layer.index)] = .integer(routers.prototype.latentSize)
    }
    return try Self.patched(
      config, family: family, form: layers.first?.routers.prototype.form ?? .init(),
      latentSizes: sizes,
      routers: layers.map { PrototypeRouterFormat.module(of: $0.layer.gate.name) })
  }

  /// Written beside the weights. The names say whose they are: a checkpoint may bring code itself.
  package static let modellingFiles: OrderedDictionary<String, [UInt8]> = [
    "configuration_regate.py": PackageResources.configuration_regate_py,
    "gate_regate.py": PackageResources.gate_regate_py,
    "modeling_regate.py": PackageResources.modeling_regate_py,
  ]

  package var sideFiles: OrderedDictionary<String, [UInt8]> { Self.modellingFiles }

  package func headline(_ container: Container, onlyStock: Bool) -> String {
    "Writing the prototype router (`router` lpr): loads in transformers and vLLM with "
      + "trust_remote_code, or in vLLM and SGLang (not DeepSeek) with Regate's plugin; llama.cpp and "
      + "MLX refuse it. Choose `router` stock for an output that loads wherever the original did."
  }

  package var howToLoad: String {
    """
    ```python
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained("this folder", trust_remote_code=True)
    ```

    Needs the `*_regate.py` files beside the weights. vLLM (0.32) loads it with \
    `--trust-remote-code`, or by Regate's plugin (`tools/python`) without it and in its own model \
    classes. SGLang (0.5.23) loads Mixtral and Qwen3-MoE with that plugin, and Qwen3-MoE without \
    it too, always with `--trust-remote-code`. Both were run with small models on a CPU, vLLM on a \
    GPU too. llama.cpp and MLX do not know this router.
    """
  }
}

// MARK: config.json

extension PrototypeOutput {
  /// `config` with the prototype form's keys; `routers` are the names of the modules that hold
  /// them.
  package static func patched(
    _ config: JSONValue, family: Family, form: LatentForm = .init(),
    latentSizes: OrderedDictionary<String, JSONValue>, routers: [String]
  ) throws(RegateError) -> JSONValue {
    let classes = try ModellingClasses(of: config, family: family)
    var prototype = config
    prototype["architectures"] = [.string(classes.head)]
    // A type of ours: kimi_k2, for one, becomes regate_deepseek_v3.
    prototype["model_type"] = .string(PrototypeForm.modelTypePrefix + classes.modelType)
    prototype["auto_map"] = autoMap(config["auto_map"], classes)
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

  /// Our classes instead of the configuration and models of the original; its tokenizer stays.
  private static func autoMap(_ original: JSONValue?, _ classes: ModellingClasses) -> JSONValue {
    var map = original?.objectValue ?? [:]
    map.removeAll { $0.key == "AutoConfig" || $0.key.hasPrefix("AutoModel") }
    map["AutoConfig"] = .string("configuration_regate.\(classes.prefix)Config")
    map["AutoModel"] = .string("modeling_regate.\(classes.prefix)Model")
    for auto in classes.headLoaders { map[auto] = .string("modeling_regate.\(classes.head)") }
    return .object(map)
  }

  /// A quantisation that lists the modules it left alone (FP8 and AWQ, compressed-tensors, MXFP4)
  /// with the routers among them. None gets a list that had none: a list replaces transformers'
  /// defaults, which keep the output head out.
  package static func keeping(_ routers: [String], outOf quantisation: JSONValue) -> JSONValue {
    var result = quantisation
    for key in ["modules_to_not_convert", "ignore"] {
      guard let listed = quantisation[key]?.arrayValue else { continue }
      let missing = routers.map(JSONValue.string).filter { !listed.contains($0) }
      result[key] = .array(listed + missing)
    }
    // Its blocks of packed experts choose by a matrix of their router, whatever that computes.
    if quantisation["quant_method"]?.stringValue == "mxfp4" { result["dequantize"] = true }
    return result
  }
}
