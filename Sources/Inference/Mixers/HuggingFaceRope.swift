// SPDX-License-Identifier: Apache-2.0
//
// What `config.json` says of the rotation, resolved as transformers 5.23 does:
//
//   scaling     `rope_scaling` unless it is absent, null or empty, otherwise `rope_parameters`
//   theta       that object's `rope_theta`, the top level's, or the class default
//   part        that object's `partial_rotary_factor`, the top level's, that of the family's count
//               of rotated dimensions, or the class default
//   kind        that object's `rope_type`, or its older `type`
//   context n0  the top level's `original_max_position_embeddings`, that object's, or
//               `max_position_embeddings`
//
// Values of the object are not checked for their types there, only used: what Python takes for
// false is false.

import Architectures
import ByteStorage
import Foundation

struct HuggingFaceRope {
  private let traits: RopeTraits
  private let headSize: Int
  /// The top level.
  private var settings: Settings
  /// The object that scales; nil: there is none.
  private var inner: Settings?
  private let context: Double

  init(
    _ traits: RopeTraits, headSize: Int, _ source: MixerSettings
  ) throws(RegateError) {
    self.traits = traits
    self.headSize = headSize
    settings = source.settings
    context = Double(
      try settings.required(
        Key("max_position_embeddings", default: source.defaults.context)))
    for key in ["rope_scaling", "rope_parameters"] where inner == nil {
      guard let text = settings.text(of: key), text != "null" else { continue }
      guard let object = settings.nested(key) else {
        throw RegateError(
          .malformed, file: settings.file, subject: settings.scope + key,
          "is \(text), expected an object")
      }
      if !object.isEmpty { inner = object }
    }
    guard inner != nil || !traits.needsParameters else {
      throw RegateError(
        .missing, file: settings.file, subject: settings.scope + "rope_parameters",
        "the key is absent, for which the class has a scaling of its own",
        advice: "write the rotation's parameters into the file, as save_pretrained does")
    }
  }

  /// The rotation, and the factor by which YaRN grows the softmax scale of latent attention.
  consuming func rope() throws(RegateError) -> (rope: Rope, softmaxGrowth: Double) {
    let theta = try theta()
    let kind = try kind()
    let dimensions = try dimensions(scaled: kind != "default")
    let interleaved: Bool
    switch traits.interleaved {
    case .fixed(let value): interleaved = value
    case .key(let key): interleaved = try settings.bool(key) ?? false
    }
    var rope: Rope
    var growth = 1.0
    if var object = inner, kind != "default" {
      rope = try scaled(
        kind, &object, dimensions: dimensions, theta: theta, interleaved: interleaved)
      if traits.growsSoftmax { growth = try softmaxGrowth(&object) }
      if traits.growsQueries { rope.queryGrowth = try queryGrowth(&object) }
    } else {
      rope = Rope(
        dimensions: dimensions, theta: theta, scaling: .none, interleaved: interleaved)
    }
    return (rope, growth)
  }

  private mutating func theta() throws(RegateError) -> Double {
    let key = Key("rope_theta", default: traits.defaultTheta)
    let theta: Double?
    if var object = inner, object.has("rope_theta") {
      theta = try object.number(key)
    } else {
      theta = try settings.number(key)
    }
    guard let theta, theta > 1 else {
      throw settings.mismatch("rope_theta", "is \(theta ?? 0), expected above 1")
    }
    return theta
  }

  private mutating func kind() throws(RegateError) -> String {
    guard var object = inner else { return "default" }
    let key = Key("rope_type", "type", default: "default")
    return try object.string(key) ?? "default"
  }

  /// The key that a head's size, or the size of what is rotated apart from it, comes from.
  private var headKey: String {
    ["qk_rope_head_dim", "head_dim"].first(where: settings.has) ?? "num_attention_heads"
  }

  /// How many dimensions of a head are rotated. Families that always rotate whole heads have a
  /// part in the scaled kinds all the same, with which transformers then stops.
  private mutating func dimensions(scaled: Bool) throws(RegateError) -> Int {
    let name = "partial_rotary_factor"
    var part: Double? = 1
    if scaled || traits.partialRotation != nil || traits.readsPart {
      if var object = inner, object.has(name) {
        part = try object.number(Key(name, default: nil))
      } else if !settings.has(name), let key = traits.rotatedSize,
        let size = try settings.integer(key, minimum: 1)
      {
        part = Double(size) / Double(headSize)
      } else {
        let key = Key(name, default: traits.partialRotation ?? 1, null: .means(1))
        part = try settings.number(key)
      }
    }
    guard let part, part > 0, part <= 1 else {
      throw settings.mismatch(name, "is \(part ?? 0), expected above 0, up to 1")
    }
    let dimensions = Int(Double(headSize) * part)
    guard dimensions > 0, dimensions <= min(headSize, Rope.sizeLimit), dimensions % 2 == 0 else {
      // Of whole heads it is their size that does not fit.
      let key = part < 1 ? name : headKey
      throw settings.mismatch(
        key,
        "gives \(dimensions) of a head's \(headSize) dimensions to rotate, expected an even"
          + " number up to \(Rope.sizeLimit)")
    }
    guard traits.partialRotation != nil || dimensions == headSize else {
      throw settings.mismatch(name, "is \(part), but this family rotates whole heads")
    }
    return dimensions
  }
}

// MARK: Kinds

extension HuggingFaceRope {
  private mutating func scaled(
    _ kind: String, _ object: inout Settings, dimensions: Int, theta: Double, interleaved: Bool
  ) throws(RegateError) -> Rope {
    var scaling = Rope.Scaling.none
    var multiplier = 1.0
    var divisors: [Float]?
    var limit: Rope.Limit?
    guard traits.longRopeMultiplier == nil || kind == "longrope" else {
      throw RegateError(
        .unsupported, file: object.file, subject: object.scope + "rope_type",
        "is \"\(kind)\", expected default or longrope for this family")
    }
    switch kind {
    case "linear": scaling = .linear(factor: try object.positive("factor"))
    case "dynamic":
      let key = Key<Double>("factor", default: nil)
      guard try object.number(key) != nil else { throw object.missing(key) }
      limit = Rope.Limit(positions: Int(context), kind: kind)
    case "yarn":
      let original = try original(&object)
      let factor = try factor(&object, original: original, isRequired: true)
      multiplier = try yarnAttention(&object, factor: factor)
      scaling = .yarn(
        factor: factor, original: original, fast: try object.unlessZero("beta_fast") ?? 32,
        slow: try object.unlessZero("beta_slow") ?? 1, truncate: try truncates(&object))
    case "llama3":
      scaling = .llama3(
        factor: try object.positive("factor"), original: try original(&object),
        low: try object.positive("low_freq_factor"), high: try object.positive("high_freq_factor"))
    case "longrope":
      let original = try original(&object)
      divisors = try object.factors("short_factor", count: dimensions / 2).map(Float.init)
      _ = try object.factors("long_factor", count: dimensions / 2)
      let factor = try factor(&object, original: original, isRequired: false)
      if let key = traits.longRopeMultiplier {
        multiplier = try object.positive(key)
      } else {
        multiplier =
          try object.number(.optional("attention_factor"))
          ?? (factor <= 1 ? 1 : (1 + log(factor) / log(original)).squareRoot())
      }
      limit = Rope.Limit(positions: Int(original), kind: kind)
    default:
      throw RegateError(
        .unsupported, file: object.file, subject: object.scope + "rope_type",
        "is \"\(kind)\", expected default, linear, dynamic, yarn, llama3 or longrope")
    }
    return Rope(
      dimensions: dimensions, theta: theta, scaling: scaling, divisors: divisors,
      multiplier: multiplier, interleaved: interleaved, limit: limit)
  }

  /// The context that the model was trained with before its rotation was scaled.
  private mutating func original(_ object: inout Settings) throws(RegateError) -> Double {
    let name = "original_max_position_embeddings"
    let key = Key(name, default: context)
    let original =
      settings.has(name) ? try settings.number(key) : try object.number(key)
    guard let original, original > 0 else {
      throw object.mismatch(name, "is \(original ?? 0), expected above 0")
    }
    return original
  }

  private func factor(
    _ object: inout Settings, original: Double, isRequired: Bool
  ) throws(RegateError) -> Double {
    let ratio = context / original
    let key = Key("factor", default: isRequired ? nil : ratio, null: .means(ratio))
    guard let factor = try object.number(key) else { throw object.missing(key) }
    guard factor > 0 else { throw object.mismatch("factor", "is \(factor), expected above 0") }
    return factor
  }

  private func truncates(_ object: inout Settings) throws(RegateError) -> Bool {
    try object.bool(Key("truncate", default: true, null: .means(false))) ?? false
  }

  private func yarnAttention(
    _ object: inout Settings, factor: Double
  ) throws(RegateError) -> Double {
    if let stated = try object.number(.optional("attention_factor")) { return stated }
    guard let scale = try object.unlessZero("mscale"),
      let all = try object.unlessZero("mscale_all_dim")
    else { return Rope.yarnScale(factor) }
    return Rope.yarnScale(factor, scale) / Rope.yarnScale(factor, all)
  }

  private mutating func queryGrowth(
    _ object: inout Settings
  ) throws(RegateError) -> Rope.QueryGrowth? {
    guard let beta = try object.number(.optional("llama_4_scaling_beta")), beta != 0 else {
      return nil
    }
    return Rope.QueryGrowth(beta: beta, length: try original(&object))
  }

  /// Whatever the kind of scaling is.
  private func softmaxGrowth(_ object: inout Settings) throws(RegateError) -> Double {
    guard let all = try object.unlessZero("mscale_all_dim") else { return 1 }
    let scale = Rope.yarnScale(try object.positive("factor"), all)
    return scale * scale
  }
}

extension Settings {
  /// A number that must be there, above 0.
  fileprivate mutating func positive(_ name: String) throws(RegateError) -> Double {
    let key = Key<Double>(name, default: nil)
    guard let value = try number(key) else { throw missing(key) }
    guard value > 0 else { throw mismatch(name, "is \(value), expected above 0") }
    return value
  }

  /// A number; nothing where it is absent, null or 0.
  fileprivate mutating func unlessZero(_ name: String) throws(RegateError) -> Double? {
    try number(.optional(name)).flatMap { $0 == 0 ? nil : $0 }
  }
}
