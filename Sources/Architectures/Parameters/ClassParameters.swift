// SPDX-License-Identifier: Apache-2.0
//
// What transformers 5.23's class of a family creates, under the names by which checkpoints store
// it; `tools/interop/check_mutations.py` compares the list with the classes themselves.

package import ByteStorage
package import Checkpoints

/// Derives a class's parameters from a model's configuration.
package struct ClassParameters {
  let layout: ModelLayout
  let traits: HuggingFaceTraits
  var settings: Settings
  private(set) var parameters: [Parameter] = []
  /// H.
  var hidden: Int { layout.hiddenSize }
  var made: ClassTraits { traits.made }
  /// Of the class without its head; a checkpoint of that one alone may leave it out.
  private var base: String { layout.prefix.isEmpty ? "" : "model." }

  /// Of a safetensors model in its family's own form, or with other `routers`: then those of the
  /// gates are left out. Errors are about values of `config.json` that the class cannot use.
  package static func list(
    _ layout: ModelLayout, config: JSONValue, withoutRouters: Bool
  ) throws(RegateError) -> [Parameter] {
    var reader = ClassParameters(layout, config)
    try reader.readWhole()
    for layer in 0..<layout.layerCount {
      try reader.readLayer(layer, withoutRouters: withoutRouters)
    }
    return reader.parameters
  }

  private init(_ layout: ModelLayout, _ config: JSONValue) {
    self.layout = layout
    traits = layout.family.huggingFace
    settings = Settings(json: config, scope: "", file: "config.json")
  }

  /// Adds a parameter under the class's and other names.
  mutating func add(_ names: [String], _ shape: [Int], isOptional: Bool = false) {
    parameters.append(Parameter(names, shape, isOptional: isOptional))
  }

  mutating func add(_ name: String, _ shape: [Int]) { add([name], shape) }

  mutating func add(_ forms: [[Parameter.Piece]]) { parameters.append(Parameter(forms)) }

  mutating func addNorm(_ name: String, _ size: Int) {
    add(name + ".weight", [size])
    if made.layerNorms { add(name + ".bias", [size]) }
  }

  /// A linear map's matrix [rows, columns], and its bias.
  mutating func addLinear(_ name: String, _ rows: Int, _ columns: Int, bias: Bool = false) {
    add(name + ".weight", [rows, columns])
    if bias { add(name + ".bias", [rows]) }
  }

  mutating func flag(_ key: Key<Bool>?) throws(RegateError) -> Bool {
    guard let key else { return false }
    return try settings.bool(key) ?? false
  }

  private mutating func readWhole() throws(RegateError) {
    let vocabulary = try settings.required(
      Key("vocab_size", default: traits.defaults.vocabulary), minimum: 1)
    let tied = try flag(Key("tie_word_embeddings", default: made.tiesHead))
    let embedding = base + "embed_tokens.weight"
    let head = "lm_head.weight"
    // Either of two tied matrices stands for both.
    add(tied ? [embedding, head] : [embedding], [vocabulary, hidden])
    add([head], [vocabulary, hidden], isOptional: tied)
    if try flag(made.headBias) { add("lm_head.bias", [vocabulary]) }
    addNorm(base + "norm", hidden)
  }

  private mutating func readLayer(
    _ index: Int, withoutRouters: Bool
  ) throws(RegateError) {
    let prefix = base + "layers.\(index)."
    addNorm(prefix + "input_layernorm", hidden)
    addNorm(prefix + "post_attention_layernorm", hidden)
    if layout.family.layerForm == .branched {
      let words = ["pre_feedforward", "post_feedforward"]
      for word in words { addNorm("\(prefix)\(word)_layernorm", hidden) }
      for number in 1...2 { addNorm("\(prefix)\(words[1])_layernorm_\(number)", hidden) }
      add(prefix + "layer_scalar", [1])
    }
    try readMixer(prefix, layer: index)
    guard let layer = layout.layers.first(where: { $0.index == index }) else {
      return try readDense(prefix + "mlp.")
    }
    if !withoutRouters { readRouter(layer, prefix) }
    readExperts(layer, prefix)
    try readShared(layer, prefix)
  }

  private mutating func readDense(_ prefix: String) throws(RegateError) {
    let width = try settings.required(traits.denseWidth ?? traits.expertWidth)
    let bias = try flag(made.denseBiases)
    addLinear(prefix + "gate_proj", width, hidden, bias: bias)
    addLinear(prefix + "up_proj", width, hidden, bias: bias)
    addLinear(prefix + "down_proj", hidden, width, bias: bias)
  }
}
