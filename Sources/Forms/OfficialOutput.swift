// SPDX-License-Identifier: Apache-2.0
//
// The form of the official LPR code (`RouterForm.lprOfficial`): its names of tensors, its model
// type and classes, and the keys of its routers and losses, which are those of its published
// configurations.

package import Architectures
package import ByteStorage
package import Checkpoints
package import OrderedCollections
package import Routing

package struct OfficialOutput: OutputForm {
  package init() {}

  package var replacesGate: Bool { true }

  package func requirePossible(_ model: Model) throws(RegateError) {
    try Self.requireExpressible(model)
  }

  package func router(in fitted: FittedRouters) -> (any Router)? { fitted.official }

  package func tensors(
    of fitted: FittedRouters, layer: MoELayer, keepsBiasType: Bool
  ) throws(RegateError) -> RouterTensors {
    guard let official = fitted.official else {
      throw RegateError(
        .missing, subject: "layers.\(layer.index).official_encoder",
        "the fit holds no router for the official code", advice: "fit with `router` lpr-official")
    }
    return RouterTensors(
      replacing: layer,
      by: try OfficialRouterFormat.tensors(of: official, gate: layer.gate.name))
  }

  package func configuration(
    _ config: JSONValue, family: Family, layers: [(layer: MoELayer, routers: FittedRouters)]
  ) throws(RegateError) -> JSONValue? {
    try Self.patched(config, family: family, layers: layers)
  }

  package var sideFiles: OrderedDictionary<String, [UInt8]> { [:] }

  package func headline(_ container: Container, onlyStock: Bool) -> String {
    "Writing the router of the official LPR code (`router` lpr-official): loads in that code for "
      + "further training; it is a distillation of the prototype router, and no other runtime "
      + "loads it. Choose `router` lpr for the prototype router, `router` stock for an output that "
      + "loads wherever the original did."
  }

  package var howToLoad: String {
    """
    In the official code of Latent Prototype Routing, for further training: its \
    `model_type` and its names of tensors. transformers, vLLM, SGLang, llama.cpp and MLX do not \
    know this router.
    """
  }
}

// MARK: config.json

extension OfficialOutput {
  /// Refuses models whose routing the official code cannot express, with the reason.
  static func requireExpressible(_ model: Model) throws(RegateError) {
    let layout = model.layout
    let usual: RouterForm = layout.family.hasPrototypeForm ? .lpr : .stock
    func refused(_ reason: String, use other: RouterForm? = nil) -> RegateError {
      RegateError(
        .unsupported, file: model.checkpoint.path, subject: "`router` lpr-official", reason,
        advice: "use `router` \((other ?? usual).rawValue)")
    }
    guard case .safetensors(let checkpoint) = model.checkpoint.format else {
      throw refused("the official code reads safetensors only", use: .stock)
    }
    switch layout.family.forms.official {
    case .supported: break
    case .differs(let routing):
      throw refused(
        "the official code gives \(layout.family.title) \(routing): not this model's routing")
    case .absent: throw refused("the official code has no \(layout.family.title)")
    }
    guard layout.layers.count == layout.layerCount else {
      let sparse = Set(layout.layers.map(\.index))
      let dense = (0..<layout.layerCount).filter { !sparse.contains($0) }
      throw refused(
        "layers \(dense.map(String.init).joined(separator: ", ")) are dense; the official code "
          + "stops at layers without experts")
    }
    guard layout.layers.allSatisfy({ $0.rule.scoring == .softmax && $0.rule.normalise }) else {
      throw refused(
        "norm_topk_prob is false: the official router's weights of the chosen experts always sum "
          + "to 1")
    }
    guard checkpoint.config?["hidden_size"] != nil else {
      throw refused(
        "config.json is that of a multimodal wrapper, which the official code has not",
        use: .stock)
    }
  }

  /// `config` with the official form's keys.
  static func patched(
    _ config: JSONValue, family: Family, layers: [(layer: MoELayer, routers: FittedRouters)]
  ) throws(RegateError) -> JSONValue {
    guard let traits = family.official else {
      throw RegateError(
        .unsupported, subject: "`router` lpr-official", "has no \(family.title)",
        advice: "use `router` lpr")
    }
    let sizes = layers.compactMap { $0.routers.official?.latentSize }
    var official = inTransformers4(config, traits)
    official["model_type"] = .string(traits.modelType)
    official["architectures"] = [.string(traits.className)]
    official["auto_map"] = nil
    official[OfficialForm.latentSizeKey] = sizes.first.map { .integer($0) } ?? .null
    official[OfficialForm.metricsKey] = .string(OfficialForm.vectorMetrics)
    official[OfficialForm.metricKey] = .optional(
      OfficialForm.metrics.first { $0.similarity == .crossAttention }?.name)
    official["diversity_type"] = "orthogonal"
    official["diversity_lambda"] = .number(1)
    official["router_ema_decay"] = .number(0.8)
    official["kl_weight"] = .number(0.01)
    official["align_weight"] = .number(traits.alignWeight)
    official["div_weight"] = .number(1)
    official["unit_ball"] = .bool(false)
    official["output_router_kl"] = .bool(true)
    official["router_kl_loss_coef"] = .number(0.01)
    official["router_aux_loss_coef"] = .number(0)
    if let quantisation = config["quantization_config"] {
      official["quantization_config"] = PrototypeOutput.keeping(
        layers.map { PrototypeRouterFormat.module(of: $0.layer.gate.name) }, outOf: quantisation)
    }
    return official
  }

  /// The official code runs in transformers 4.51, which does not read some keys as transformers 5
  /// writes them: those are there under both names.
  private static func inTransformers4(_ config: JSONValue, _ traits: OfficialTraits) -> JSONValue {
    var config = config
    if let rope = config["rope_parameters"] {
      if config["rope_theta"] == nil { config["rope_theta"] = rope["rope_theta"] }
      if config["rope_scaling"] == nil, let kind = rope["rope_type"]?.stringValue,
        kind != "default"
      {
        config["rope_scaling"] = rope
      }
    }
    if config["torch_dtype"] == nil { config["torch_dtype"] = config["dtype"] }
    for key in traits.olderKeys where config[key.older] == nil {
      config[key.older] = config[key.current]
    }
    return config
  }
}
