// SPDX-License-Identifier: Apache-2.0
//
// What transformers 5.23 stops at in `config.json`: when it reads it, makes the class or runs it.
// `tools/interop/check_mutations.py` compares this with the classes themselves.

import ByteStorage
package import Checkpoints
import OrderedCollections

/// The keys of a configuration with which transformers' class of a family cannot be made or run.
package struct ClassConfiguration {
  /// A key, and what is wrong with it.
  package struct Problem: Sendable {
    package let key: String
    package let text: String
  }

  let family: Family
  let config: JSONValue
  /// With these the class does not load or run.
  package private(set) var refused: [Problem] = []
  /// What they do is not known here.
  package private(set) var unknown: [Problem] = []

  var made: ClassTraits { family.huggingFace.made }

  package init(_ config: JSONValue, of family: Family) {
    self.family = family
    self.config = config
    checkTypes()
    // Values that are of no right type say nothing.
    guard refused.isEmpty else { return }
    checkModelType()
    checkNames()
    checkSizes()
    checkWindow()
    checkFactors()
    checkRope()
    checkVariants()
    for key in Self.unread where config[key]?.isNull == false {
      // Attention of two kinds is read from there.
      if attention?.global != nil, key == "per_layer_config" { continue }
      unknown.append(Problem(key: key, text: "what it does is not known"))
    }
  }

  mutating func refuse(_ key: String, _ text: String) {
    refused.append(Problem(key: key, text: text))
  }

  mutating func doubt(_ key: String, _ text: String) {
    unknown.append(Problem(key: key, text: text))
  }

  /// What changes how a class is made, in ways that are not followed here.
  private static let unread = ["per_layer_config", "sub_configs"]

  private mutating func checkTypes() {
    let types = [String: FieldTypes].ofEveryClass.adding(made.fields)
    for (key, value) in config.objectValue ?? [:] {
      guard let allowed = types[key], allowed != .any, !allowed.holds(value) else { continue }
      refuse(key, "is \(value.short), expected \(allowed.description)")
    }
  }

  private mutating func checkModelType() {
    guard let type = config["model_type"] else {
      return refuse("model_type", "the key is absent, so no class is found")
    }
    guard let name = type.stringValue, family.huggingFace.modelTypes.contains(name) else {
      return refuse("model_type", "is \(type.short), expected a name that is registered")
    }
    if family.huggingFace.unregisteredTypes.contains(name) {
      doubt("model_type", "\(name) needs the code that comes with the model")
    }
  }

  private static let activations: Set = [
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python",
    "gelu_python_tanh", "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "linear",
    "mish", "prelu", "quick_gelu", "relu", "relu2", "relu6", "sigmoid", "silu", "sqrtsoftplus",
    "swish", "tanh", "xielu",
  ]
  private static let types: Set = [
    "float32", "float", "float64", "double", "float16", "half", "bfloat16",
  ]

  private mutating func checkNames() {
    // A class with an activation of its own reads none.
    if let (key, _) = family.activation.named, let name = config[key]?.stringValue,
      !Self.activations.contains(name)
    {
      refuse(key, "is \"\(name)\", which is no activation that it knows")
    }
    // `dtype` wins where both are given, but only if it says something.
    for key in ["dtype", "torch_dtype"] {
      guard let name = config[key]?.stringValue else { continue }
      if !Self.types.contains(name) {
        refuse(key, "is \"\(name)\", expected a floating-point type of torch")
      }
      break
    }
    for (key, words) in made.words {
      guard let word = config[key]?.stringValue, !words.contains(word) else { continue }
      refuse(key, "is \"\(word)\", expected \(words.joined(separator: " or "))")
    }
    checkLayerTypes()
  }

  private mutating func checkLayerTypes() {
    let types = config["layer_types"]?.arrayValue?.compactMap(\.stringValue)
    let layers = integer("num_hidden_layers", family.huggingFace.defaults.layers)
    if case .hybrid(let delta, _) = family.mixer { checkHybrid(delta, types, layers: layers) }
    guard let types else { return }
    if types.count != layers {
      refuse("layer_types", "has \(types.count) entries for \(layers) layers")
    }
    var known = ["full_attention", "sliding_attention"]
    if case .latent(let latent) = family.mixer, latent.indexer != nil {
      known = ["indexed_attention"]
    }
    if case .hybrid = family.mixer { known = ["full_attention", "linear_attention"] }
    if let type = types.first(where: { !known.contains($0) }) {
      doubt("layer_types", "what \"\(type)\" does is not known")
    }
  }

  /// The class keeps what its attention has seen by a layer of full attention.
  private mutating func checkHybrid(_ delta: GatedDeltaTraits, _ types: [String]?, layers: Int) {
    let key = delta.interval.names[0]
    let interval = integer(key, delta.interval.fallback ?? 1)
    guard types != nil || interval != 0 else { return refuse(key, "is 0") }
    guard types.map({ !$0.contains("full_attention") }) ?? (abs(interval) > layers) else { return }
    refuse("layer_types", "names no layer of full attention, without which it stops")
  }

  func integer(_ key: String, _ fallback: Int) -> Int { config[key]?.intValue ?? fallback }

  private mutating func checkSizes() {
    let defaults = family.huggingFace.defaults
    let vocabulary = integer("vocab_size", defaults.vocabulary)
    if let padding = config["pad_token_id"]?.intValue,
      padding >= vocabulary || padding < 0 && -padding > vocabulary
    {
      refuse("pad_token_id", "is \(padding), but vocab_size is \(vocabulary)")
    }
    let heads = integer("num_attention_heads", defaults.heads)
    guard heads > 0 else { return refuse("num_attention_heads", "is \(heads)") }
    if let size = config["head_dim"]?.intValue, size > 4, size % 2 == 1 {
      refuse("head_dim", "is \(size), expected an even size to rotate")
    }
    if let attention { checkKeyHeads(attention, heads: heads) }
    if case .latent(let traits) = family.mixer { checkLatent(traits, heads: heads) }
  }

  private mutating func checkKeyHeads(_ traits: GroupedQueryTraits, heads: Int) {
    let key = traits.keyHeads.names[0]
    let keyHeads = config[key]?.intValue ?? traits.keyHeads.fallback ?? heads
    // Null, where the class takes it.
    if config[key]?.isNull == true { return }
    guard keyHeads > 0, heads % keyHeads == 0 else {
      return refuse(key, "is \(keyHeads), which does not divide the \(heads) query heads")
    }
  }

  private mutating func checkLatent(_ traits: LatentAttentionTraits, heads: Int) {
    if let keyHeads = config["num_key_value_heads"]?.intValue {
      if keyHeads == 0 || heads / keyHeads > 1 {
        refuse("num_key_value_heads", "is \(keyHeads), expected \(heads), one for each query head")
      }
    }
    if made.headsDivideHidden {
      let hidden = integer("hidden_size", family.huggingFace.defaults.hiddenSize)
      if hidden % heads != 0 {
        refuse("num_attention_heads", "is \(heads), which does not divide hidden_size, \(hidden)")
      }
    }
    if let key = traits.indexer?.keptKeys.names[0], let kept = config[key]?.intValue, kept < 0 {
      refuse(key, "is \(kept), expected a number of keys to keep")
    }
    let rotated = integer("qk_rope_head_dim", 64)
    if rotated <= 0 || rotated % 2 == 1 {
      refuse("qk_rope_head_dim", "is \(rotated), expected an even size to rotate")
    }
    if let key = traits.rotatedSize, let size = config[key], size.doubleValue != Double(rotated) {
      doubt(key, "is \(size.short), expected \(rotated) as of qk_rope_head_dim")
    }
    if integer("v_head_dim", 128) <= 0 { refuse("v_head_dim", "is 0") }
  }

  /// Factors that make every value the same, or NaN.
  private mutating func checkFactors() {
    for key in ["attention_multiplier", "logits_scaling"] where made.fields[key] != nil {
      guard let value = config[key]?.doubleValue, value <= 0 else { continue }
      doubt(key, "is \(value), with which it may compute NaN")
    }
  }

  private mutating func checkWindow() {
    if case .last(let window, let first) = attention?.window, config["layer_types"] == nil,
      config[first.names[0]]?.isNull == true, config[window.names[0]]?.isNull != true
    {
      refuse(first.names[0], "is null, and no layer_types say which layers have the window")
    }
    let isUsed: Bool
    switch attention?.window {
    case .always, .alternating, .unlessGlobal: isUsed = true
    case .switched: isUsed = config["use_sliding_window"]?.boolValue == true
    case .none?, .switchedOnEvenLayers, .last, nil: isUsed = false
    }
    guard isUsed, let window = config["sliding_window"]?.intValue, window < 1 else { return }
    refuse("sliding_window", "is \(window), with which no token sees any")
  }

  /// Keys with which the class has parameters that are not known here.
  private mutating func checkVariants() {
    for key in family.huggingFace.uncomputed where key.creates {
      let found = config[key.name].map { SettingValue($0).text }
      guard let value = found ?? key.absent, !key.off.contains(value) else { continue }
      doubt(
        key.name,
        (found == nil ? "is absent, which means \(value)" : "is \(value)")
          + ": what the class creates then is not known")
    }
  }

  /// Attention other than latent.
  private var attention: GroupedQueryTraits? {
    family.mixer?.groupedQuery
  }
}

extension FieldTypes {
  /// Whether `value` is of one of the types.
  func holds(_ value: JSONValue) -> Bool {
    switch value {
    case .null: return contains(.null)
    case .bool: return contains(.flag)
    case .integer: return contains(.integer)
    case .number: return contains(.number)
    case .string: return contains(.text)
    case .object: return contains(.object)
    case .array(let values):
      return contains(.integers) && values.allSatisfy { $0.intValue != nil }
        || contains(.texts) && values.allSatisfy { $0.stringValue != nil }
    }
  }
}

extension JSONValue {
  /// As messages quote it.
  var short: String {
    switch self {
    case .array: "a list"
    case .object: "an object"
    default: SettingValue(self).text
    }
  }
}
