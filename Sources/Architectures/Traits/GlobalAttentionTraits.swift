// SPDX-License-Identifier: Apache-2.0
//
// Attention of two kinds (Gemma 4): most layers see a window, the others all tokens, with heads of
// another size and a rotation of their own. In GGUF files sizes without `_swa` are the latter's.

package import ByteStorage

/// What the layers that see all tokens have otherwise than those with a window.
package struct GlobalAttentionTraits: Sendable {
  package var headSize = Key("global_head_dim", default: 512)
  /// Read where values are keys; nothing: that of the other layers.
  package var keyHeads = Key<Int>("num_global_key_value_heads", default: nil, null: .means(nil))
  /// Values are the keys before their norm and rotation.
  package var sharesValues = Key("attention_k_eq_v", default: false)
  /// Every so many layers one sees all tokens, where `layer_types` is not there.
  package var interval = 6

  package init() {}

  /// The sizes of a layer's attention.
  package struct Layer: Sendable, Equatable {
    package var isGlobal: Bool
    package var headSize: Int
    package var keyHeads: Int
    package var sharesValues: Bool
    /// How many dimensions of a head are rotated, by GGUF files; some of these may stand still.
    package var rotated: Int
  }
}

// MARK: config.json

extension GlobalAttentionTraits {
  /// Each layer's attention; `usual` is that of the layers with a window.
  package func layers(
    count: Int, usual: (headSize: Int, keyHeads: Int), _ settings: inout Settings
  ) throws(RegateError) -> [Layer] {
    let shares = try settings.bool(sharesValues) ?? false
    let overrides = try overrides(shares: shares, &settings)
    let layers = try globalLayers(count: count, settings).enumerated().map {
      (index, isGlobal) throws(RegateError) in
      let own = try overrides(index, isGlobal)
      return Layer(
        isGlobal: isGlobal, headSize: own.headSize ?? usual.headSize,
        keyHeads: own.keyHeads ?? usual.keyHeads, sharesValues: shares && isGlobal,
        rotated: own.headSize ?? usual.headSize)
    }
    for kind in [true, false] {
      let alike = layers.filter { $0.isGlobal == kind }
      guard alike.allSatisfy({ $0 == alike[0] }) else {
        throw settings.mismatch(
          "per_layer_config", "has other sizes for some layers of one kind, expected all alike")
      }
    }
    return layers
  }

  private typealias Override = (headSize: Int?, keyHeads: Int?)

  /// What a layer has in place of the usual sizes: of `per_layer_config`, which `save_pretrained`
  /// writes, or of the published keys.
  private func overrides(
    shares: Bool, _ settings: inout Settings
  ) throws(RegateError) -> (Int, Bool) throws(RegateError) -> Override {
    let name = "per_layer_config"
    guard settings.text(of: name) ?? "null" != "null" else {
      let size = try settings.required(headSize, minimum: 1)
      let heads = shares ? try settings.integer(keyHeads, minimum: 1) : nil
      return { (_, isGlobal) throws(RegateError) in isGlobal ? (size, heads) : (nil, nil) }
    }
    guard let layers = settings.nested(name) else {
      throw settings.mismatch(name, "expected an object with a number for each layer")
    }
    return { (index, _) throws(RegateError) in
      guard var layer = layers.nested(String(index)) else { return (nil, nil) }
      let known = ["head_dim", "num_key_value_heads"]
      if let other = layer.keys.first(where: { !known.contains($0) }) {
        throw RegateError(
          .unsupported, file: layer.file, subject: layer.scope + other,
          "sets for one layer what Regate takes from the whole model, expected "
            + known.joined(separator: " or "))
      }
      return (
        try layer.integer(.optional(known[0]), minimum: 1),
        try layer.integer(.optional(known[1]), minimum: 1)
      )
    }
  }

  /// Which of `count` layers see all tokens. The class makes the last one such a layer whatever the
  /// configuration says.
  private func globalLayers(
    count: Int, _ settings: Settings
  ) throws(RegateError) -> [Bool] {
    let last = count - 1
    guard settings.text(of: "layer_types") ?? "null" != "null" else {
      return (0..<count).map { ($0 + 1) % interval == 0 || $0 == last }
    }
    let types = settings.strings("layer_types") ?? []
    guard types.count == count,
      types.allSatisfy({ ["sliding_attention", "full_attention"].contains($0) })
    else {
      throw settings.mismatch(
        "layer_types", "expected sliding_attention or full_attention for each of \(count) layers")
    }
    return types.indices.map { types[$0] == "full_attention" || $0 == last }
  }
}

// MARK: GGUF

extension GlobalAttentionTraits {
  /// Each layer's attention as llama.cpp reads it; `hasValues` says which layers have a matrix of
  /// values.
  package func ggufLayers(
    count: Int, hiddenSize: Int, heads: Int, _ settings: inout Settings,
    hasValues: (Int) -> Bool
  ) throws(RegateError) -> [Layer] {
    let pattern = "attention.sliding_window_pattern"
    guard let isWindowed = settings.flags(pattern), isWindowed.count >= count else {
      throw settings.mismatch(pattern, "expected true or false for each of \(count) layers")
    }
    let sizes = try ggufHeadSizes(usual: hiddenSize / heads, &settings)
    let rotated = try ggufRotated(sizes, &settings)
    let key = Key("attention.head_count_kv", default: heads)
    let keyHeads = try settings.perLayer(key) ?? .all(heads)
    return try (0..<count).map { layer throws(RegateError) in
      guard let own = keyHeads[layer], own > 0 else {
        throw settings.mismatch(key.names[0], "has no value above 0 for layer \(layer)")
      }
      return Layer(
        isGlobal: !isWindowed[layer], headSize: isWindowed[layer] ? sizes.windowed : sizes.whole,
        keyHeads: own, sharesValues: !hasValues(layer),
        rotated: isWindowed[layer] ? rotated.windowed : rotated.whole)
    }
  }

  private typealias Sizes = (whole: Int, windowed: Int)

  /// What is rotated of heads of two sizes; llama.cpp stops at other numbers.
  private func ggufRotated(
    _ sizes: Sizes, _ settings: inout Settings
  ) throws(RegateError) -> Sizes {
    func checked(_ key: Key<Int>, of size: Int) throws(RegateError) -> Int {
      let count = try settings.required(key)
      guard count > 0, count <= size, count % 2 == 0 else {
        throw settings.mismatch(key.names[0], "is \(count), expected an even number up to \(size)")
      }
      return count
    }
    let whole = try checked(Key("rope.dimension_count", default: sizes.whole), of: sizes.whole)
    let windowed = try checked(
      Key("rope.dimension_count_swa", default: whole), of: sizes.windowed)
    return (whole, windowed)
  }

  /// The two sizes of heads, which values share with keys.
  private func ggufHeadSizes(
    usual: Int, _ settings: inout Settings
  ) throws(RegateError) -> Sizes {
    var sizes: [Int] = []
    for (suffix, fallback) in [("", usual), ("_swa", nil)] {
      let size = try settings.required(
        Key("attention.key_length" + suffix, default: fallback), minimum: 1)
      let name = "attention.value_length" + suffix
      let valueSize = try settings.required(Key(name, default: fallback), minimum: 1)
      guard valueSize == size else {
        throw settings.mismatch(name, "is \(valueSize), expected \(size) as of the keys")
      }
      sizes.append(size)
    }
    return (sizes[0], sizes[1])
  }
}
