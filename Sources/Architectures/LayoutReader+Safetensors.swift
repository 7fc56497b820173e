// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing

extension LayoutReader {
  /// Reads `config.json` as transformers 5.23 does.
  init(safetensors checkpoint: SafetensorsCheckpoint) throws(RegateError) {
    let file = checkpoint.directory + "/config.json"
    guard let written = checkpoint.config else {
      throw RegateError(
        .missing, file: file, "there is no config.json beside the tensors",
        advice: "fetch it from the model's repository")
    }
    let prototype = try PrototypeForm.original(of: written, file: file)
    let official = OfficialForm.original(of: written)
    let original = prototype ?? official
    let config = original ?? written
    let (family, object, scope) = try Family.find(in: config, file: file)
    let traits = family.huggingFace
    var settings = Settings(json: object, scope: scope, file: file)

    if let key = traits.hasExperts, try settings.bool(key) != true {
      throw RegateError(
        .unsupported, file: file, subject: scope + key.names[0],
        "is not true: this is a dense model, it has no experts to balance")
    }
    let defaults = traits.defaults
    hiddenSize = try settings.required(
      Key("hidden_size", default: defaults.hiddenSize), minimum: 1)
    let layersKey = traits.layers ?? Key("num_hidden_layers", default: defaults.layers)
    let stated =
      if let blocks = try traits.sparsity.layerCount(&settings) { blocks } else {
        try settings.required(layersKey)
      }
    layerCount = try Self.checkedLayerCount(stated, layersKey.names[0], settings)
    // A spelling that another one overrules is a field all the same, whose type is checked.
    for name in traits.experts.names {
      _ = try settings.integer(Key(name, default: nil), minimum: 1)
    }
    experts = try settings.required(traits.experts, minimum: 1)
    guard let topK = try settings.perLayer(traits.topK) else {
      throw settings.missing(traits.topK)
    }
    guard let width = try settings.perLayer(traits.expertWidth) else {
      throw settings.missing(traits.expertWidth)
    }
    sharedExperts = try traits.sharedExperts.map { key throws(RegateError) in
      try settings.required(key)
    }
    mtpLayers = try traits.mtpLayers.map { key throws(RegateError) in
      try settings.required(key)
    }
    let (activationKey, usual) = family.activation.named ?? ("hidden_act", "silu")
    hiddenActivation = try settings.string(Key(activationKey, default: usual)) ?? usual
    let tensors = LayerTensors(
      checkpoint, names: .huggingFace(official == nil ? traits.names : traits.names.official))
    moeLayers = try traits.sparsity.layers(
      count: layerCount, settings: &settings, isStored: tensors.hasExperts)
    try Self.checkTopK(
      topK, of: moeLayers, experts: experts, key: traits.topK.names[0], settings)
    let usesBias =
      try traits.usesBias.flatMap { key throws(RegateError) in try settings.bool(key) } ?? true
    rule = try traits.routing.rule(
      experts: experts, topK: moeLayers.compactMap { topK[$0] }.max() ?? 1, settings: &settings,
      scoringForAbsentKey: nil)
    let quantisation = try QuantisationScheme(in: [object, config], file: file)
    activation = try family.activation.gated(&settings, isGGUF: false)
    expertInputs =
      try traits.latentSize.flatMap { key throws(RegateError) in
        try settings.integer(key, minimum: 1)
      } ?? hiddenSize
    var subject = CaveatSubject(
      family: family, rule: rule, moeLayers: moeLayers.count, layerCount: layerCount,
      settings: settings)
    containerWarnings = try Self.configWarnings(
      &subject, modelType: object["model_type"]?.stringValue)
    settings = subject.settings

    self.checkpoint = checkpoint
    self.family = family
    self.settings = settings
    self.config = scope.isEmpty ? written : object
    self.topK = topK
    expertWidth = width
    routing = traits.routing
    // A prototype router's own selection bias holds what the gate's held.
    selectionBias = original == nil && usesBias ? traits.selectionBias : .ignored
    if official != nil {
      prototypeForm = .init(
        encoder: .gaussian, similarity: try OfficialForm.similarity(of: written, file: file))
      officialLatentSize = try settings.required(
        Key(OfficialForm.latentSizeKey, default: nil), minimum: 1)
    } else {
      prototypeForm = prototype == nil ? nil : try PrototypeForm.form(of: written, file: file)
      officialLatentSize = nil
    }
    gateBias = !traits.names.gateBias.isEmpty
    expertBiases = traits.made.expertBiases
    self.tensors = tensors
    self.quantisation = quantisation
    mlxQuantisation =
      quantisation.method == "mlx"
      ? [object, config].lazy.compactMap { $0["quantization"] }.first : nil
  }
}
