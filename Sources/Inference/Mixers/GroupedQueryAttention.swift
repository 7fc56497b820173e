// SPDX-License-Identifier: Apache-2.0
//
// Attention whose query heads share key and value heads: plain, windowed, with norms over queries
// and keys, with gates over its context. Its weights and their use are in +Layer.

import Architectures
import ByteStorage
import Checkpoints
import Tensors

/// Grouped-query attention of one layer.
struct GroupedQueryAttention: TokenMixer {
  /// What is normalised of queries and keys before the rotation.
  enum HeadNorm: Sendable {
    case none
    /// Each head.
    case perHead
    /// The whole projected width.
    case wholeWidth
  }

  let hiddenSize: Int
  let shape: AttentionShape
  let rope: Rope
  let norm: HeadNorm
  /// Of the norms over queries and keys.
  let epsilon: Float
  let biases: Presence
  let outputBias: Presence
  let gatesContext: Bool
  let hasSinks: Bool
  /// Values are normalised too, each head, without a weight.
  var normsValues = false
  /// Values are the keys before their norm and rotation.
  var sharesValues = false

  /// Rows of the query matrix: each head's are followed by those of its gate, if it has one.
  var queryRows: Int { gatesContext ? 2 * shape.queries : shape.queries }

  /// Queries and gates, keys and values; the context takes the queries' place.
  var floatsPerToken: Int { queryRows + shape.keys + shape.keyHeads * shape.valueSize }

  func bufferBytes(tokens: Int) -> Int {
    MixerBlocks.bytes(tokens: tokens, floatsPerToken: floatsPerToken)
  }

  func weightBytes(layer: Int, in reader: WeightReader) -> Int {
    reader.bytes(
      of: [
        (.output, hiddenSize, shape.context), (.query, queryRows, hiddenSize),
        (.key, shape.keys, hiddenSize),
        (.value, sharesValues ? 0 : shape.keyHeads * shape.valueSize, hiddenSize),
      ], layer: layer)
  }

  func load(
    layer: Int, from reader: WeightReader, ropes: RopeTables, threads: Int
  ) throws(RegateError) -> any LoadedMixer {
    try Layer(self, layer: layer, reader, ropes.table(of: rope, reader), threads: threads)
  }
}

// MARK: Settings

extension GroupedQueryAttention {
  /// The attention of each layer; most families' differ in their windows only.
  static func layers(
    _ traits: GroupedQueryTraits, _ source: inout MixerSettings
  ) throws(RegateError) -> [GroupedQueryAttention] {
    if let global = traits.global { return try layers(traits, global, &source) }
    let heads = try source.heads()
    let (keyHeads, size) = try sizes(traits, heads: heads, &source)
    let rope = try Rope.read(traits.rope, headSize: size, &source).rope
    let keyHeadsKey = source.isGGUF ? "attention.head_count_kv" : "num_key_value_heads"
    guard keyHeads > 0, heads % keyHeads == 0 else {
      throw source.settings.mismatch(
        keyHeadsKey, "is \(keyHeads), which does not divide the \(heads) query heads")
    }
    let windows = try windows(traits.window, &source)
    let norm = try norm(traits.norm, &source)
    let scale = try scale(traits, headSize: size, &source)
    let (biases, outputBias) = try source.biases(traits.biases)
    return windows.map { window in
      GroupedQueryAttention(
        hiddenSize: source.hiddenSize,
        shape: AttentionShape(
          heads: heads, keyHeads: keyHeads, keySize: size, valueSize: size,
          scale: scale, window: window),
        rope: rope, norm: norm, epsilon: source.epsilon, biases: biases, outputBias: outputBias,
        gatesContext: traits.gatesContext, hasSinks: traits.sinks)
    }
  }

  private static func sizes(
    _ traits: GroupedQueryTraits, heads: Int, _ source: inout MixerSettings
  ) throws(RegateError) -> (keyHeads: Int, size: Int) {
    let usual = source.hiddenSize / heads
    guard source.isGGUF else {
      let keyHeads = try source.settings.integer(traits.keyHeads, minimum: 1)
      let size = try source.settings.integer(traits.headSize, minimum: 1)
      return (keyHeads ?? heads, size ?? usual)
    }
    let keyHeads = try source.uniform(Key("attention.head_count_kv", default: heads)) ?? heads
    let size = try source.settings.required(
      Key("attention.key_length", default: usual), minimum: 1)
    let valueSize = try source.settings.required(
      Key("attention.value_length", default: usual), minimum: 1)
    guard valueSize == size else {
      throw source.settings.mismatch(
        "attention.value_length", "is \(valueSize), expected \(size)")
    }
    return (keyHeads, size)
  }

  static func scale(
    _ traits: GroupedQueryTraits, headSize: Int, _ source: inout MixerSettings
  ) throws(RegateError) -> Float {
    let usual = 1 / Double(headSize).squareRoot()
    guard let key = source.isGGUF ? traits.ggufScale : traits.scale else { return Float(usual) }
    let scale = try source.settings.number(key) ?? usual
    guard source.isGGUF || scale != 0 else {
      throw source.settings.mismatch(
        key.names[0], "is 0, with which transformers computes NaN", advice: "write the model's own")
    }
    return Float(source.isGGUF && scale == 0 ? usual : scale)
  }

  private static func norm(
    _ norm: GroupedQueryTraits.QueryKeyNorm, _ source: inout MixerSettings
  ) throws(RegateError) -> HeadNorm {
    switch norm {
    case .none: return .none
    case .perHead: return .perHead
    case .wholeWidth: return .wholeWidth
    case .perHeadIf(let key):
      let has =
        source.isGGUF
        ? source.weights.has(.queryNorm, layer: 0) : try source.settings.bool(key) ?? false
      return has ? .perHead : .none
    }
  }

  /// The window of each layer. llama.cpp has none for most architectures.
  private static func windows(
    _ kind: GroupedQueryTraits.SlidingWindow, _ source: inout MixerSettings
  ) throws(RegateError) -> [Int?] {
    let count = source.layerCount
    let none = [Int?](repeating: nil, count: count)
    if case .alternating(let key) = kind {
      let (size, isWindowed) = try alternating(key, &source)
      return isWindowed.map { $0 ? size : nil }
    }
    guard !source.isGGUF else { return none }
    let switchKey = Key("use_sliding_window", default: false)
    switch kind {
    case .none, .alternating, .unlessGlobal: return none
    case .always(let key):
      let size = try source.settings.integer(key, minimum: 1)
      return none.map { _ in size }
    case .switched(let key):
      let isOn = try source.settings.bool(switchKey) == true
      let size = try source.settings.integer(key, minimum: 1)
      return none.map { _ in isOn ? size : nil }
    case .last(let key, let firstKey):
      let size = try source.settings.integer(key, minimum: 1)
      let first = try source.settings.required(firstKey)
      let types = try layerTypes(&source)
      guard let size else {
        guard types?.contains(true) != true else {
          throw source.settings.mismatch(
            "layer_types", "has sliding_attention, but \(key.names[0]) is null")
        }
        return none
      }
      return none.indices.map { types?[$0] ?? ($0 >= first) ? size : nil }
    case .switchedOnEvenLayers(let key):
      let isOn = try source.settings.bool(switchKey) == true
      let size = isOn ? try source.settings.integer(key, minimum: 1) : nil
      let isWindowed = try windowedLayers(isOn: isOn, &source)
      guard size != nil || !isWindowed.contains(true) else {
        throw source.settings.mismatch(
          "layer_types", "has sliding_attention, but use_sliding_window is false",
          advice: "transformers then hides every token from every other")
      }
      return isWindowed.map { $0 ? size : nil }
    }
  }

  /// A window, and which layers have it.
  private static func alternating(
    _ key: Key<Int>, _ source: inout MixerSettings
  ) throws(RegateError) -> (size: Int, isWindowed: [Bool]) {
    let layers = 0..<source.layerCount
    guard source.isGGUF else {
      let isWindowed = try layerTypes(&source) ?? layers.map { $0 % 2 == 0 }
      let least = isWindowed.contains(true) ? 1 : 0
      return (try source.settings.required(key, minimum: least), isWindowed)
    }
    let size = try source.settings.required(
      Key("attention.sliding_window", default: nil), minimum: 1)
    // All layers but every n-th; 0: all.
    let period = try source.settings.required(
      Key("attention.sliding_window_pattern", default: 2))
    let isWindowed = layers.map { period == 0 || $0 % period < period - 1 }
    guard isWindowed.contains(true) else {
      throw source.settings.mismatch(
        "attention.sliding_window_pattern",
        "is \(period), which gives no layer a window, without which llama.cpp stops")
    }
    return (size, isWindowed)
  }

  /// Which layers have a window: those of `layer_types`, or even ones below `max_window_layers`.
  private static func windowedLayers(
    isOn: Bool, _ source: inout MixerSettings
  ) throws(RegateError) -> [Bool] {
    let below = try source.settings.required(Key("max_window_layers", default: 28))
    return try layerTypes(&source)
      ?? (0..<source.layerCount).map { isOn && $0 % 2 == 0 && $0 < below }
  }

  /// Which layers have a window by `layer_types`; nil where that is not there.
  private static func layerTypes(_ source: inout MixerSettings) throws(RegateError) -> [Bool]? {
    let count = source.layerCount
    guard source.settings.text(of: "layer_types") ?? "null" != "null" else { return nil }
    let types = source.settings.strings("layer_types") ?? []
    guard types.count == count,
      types.allSatisfy({ ["sliding_attention", "full_attention"].contains($0) })
    else {
      throw source.settings.mismatch(
        "layer_types", "expected sliding_attention or full_attention for each of \(count) layers")
    }
    return types.map { $0 == "sliding_attention" }
  }
}
