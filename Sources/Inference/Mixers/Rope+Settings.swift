// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage

extension Rope {
  /// Wider heads are corrupt files: published models have up to 576.
  private static let sizeLimit = 1 << 16

  /// The rotation of heads of `headSize` dimensions, and the factor by which YaRN grows the softmax
  /// scale of latent attention.
  static func read(
    _ traits: RopeTraits, headSize: Int, _ source: inout MixerSettings
  ) throws(RegateError) -> (rope: Rope, softmaxGrowth: Double) {
    guard source.isGGUF else {
      return try read(huggingFace: &source.settings, headSize: headSize, traits: traits)
    }
    return try read(
      gguf: &source.settings, headSize: headSize, traits: traits,
      divisors: try source.weights.ropeDivisors())
  }

  /// What `config.json` says: `rope_parameters` (transformers 5), or `rope_theta` with
  /// `rope_scaling`.
  private static func read(
    huggingFace settings: inout Settings, headSize: Int, traits: RopeTraits
  ) throws(RegateError) -> (rope: Rope, softmaxGrowth: Double) {
    var inner = settings.nested("rope_parameters") ?? settings.nested("rope_scaling")
    let plainTheta = try settings.number(Key("rope_theta", default: nil))
    let theta =
      try inner?.number(Key("rope_theta", default: nil)) ?? plainTheta
      ?? traits.defaultTheta
    guard theta > 1 else { throw settings.mismatch("rope_theta", "is \(theta), expected above 1") }
    let plainPart = try settings.number(Key("partial_rotary_factor", default: nil))
    let part =
      try inner?.number(Key("partial_rotary_factor", default: nil)) ?? plainPart
      ?? traits.partialRotation
    let interleaved: Bool
    switch traits.interleaved {
    case .fixed(let value): interleaved = value
    case .key(let key): interleaved = try settings.bool(key) ?? false
    }
    guard part > 0, part <= 1 else {
      throw settings.mismatch("partial_rotary_factor", "is \(part), expected above 0, up to 1")
    }
    let dimensions = Int(Double(headSize) * part)
    guard dimensions > 0, dimensions <= min(headSize, sizeLimit), dimensions % 2 == 0 else {
      throw settings.mismatch(
        "partial_rotary_factor",
        "leaves \(dimensions) of \(headSize) dimensions to rotate, expected an even"
          + " number up to \(sizeLimit)")
    }
    let kind = try inner?.string(Key("rope_type", "type", default: "default")) ?? "default"
    var scaling = Scaling.none
    var multiplier = 1.0
    var growth = 1.0
    if var given = inner, kind != "default" {
      let context = try settings.number(Key("max_position_embeddings", default: nil))
      scaling = try Self.scaling(kind, &given, context: context)
      if case .yarn(let factor, _, _, _, _) = scaling {
        multiplier = try Self.attentionFactor(&given, factor: factor)
      }
      let all = try given.number(Key("mscale_all_dim", default: nil)) ?? 0
      if all != 0 {
        let scale = Self.yarnScale(try given.positive("factor"), all)
        growth = scale * scale
      }
      inner = given
    }
    let rope = Rope(
      dimensions: dimensions, theta: theta, scaling: scaling, multiplier: multiplier,
      interleaved: interleaved)
    return (rope, growth)
  }

  private static func scaling(
    _ kind: String, _ given: inout Settings, context: Double?
  ) throws(RegateError) -> Scaling {
    let originalKey = Key<Double>("original_max_position_embeddings", default: context)
    switch kind {
    case "linear": return .linear(factor: try given.positive("factor"))
    case "yarn":
      guard let original = try given.number(originalKey), original > 0 else {
        throw given.missing(originalKey)
      }
      let factor = try given.number(Key("factor", default: nil)) ?? (context ?? original) / original
      guard factor > 0 else { throw given.mismatch("factor", "is \(factor), expected above 0") }
      return .yarn(
        factor: factor, original: original,
        fast: try given.number(Key("beta_fast", default: 32)) ?? 32,
        slow: try given.number(Key("beta_slow", default: 1)) ?? 1,
        truncate: try given.bool(Key("truncate", default: true)) ?? true)
    case "llama3":
      guard let original = try given.number(originalKey), original > 0 else {
        throw given.missing(originalKey)
      }
      return .llama3(
        factor: try given.positive("factor"), original: original,
        low: try given.positive("low_freq_factor"), high: try given.positive("high_freq_factor"))
    default:
      throw RegateError(
        .unsupported, file: given.file, subject: given.scope + "rope_type",
        "is \"\(kind)\", expected default, linear, yarn or llama3")
    }
  }

  private static func attentionFactor(
    _ given: inout Settings, factor: Double
  ) throws(RegateError) -> Double {
    if let stated = try given.number(Key("attention_factor", default: nil)) { return stated }
    let scale = try given.number(Key("mscale", default: nil)) ?? 0
    let all = try given.number(Key("mscale_all_dim", default: nil)) ?? 0
    guard scale != 0, all != 0 else { return yarnScale(factor) }
    return yarnScale(factor, scale) / yarnScale(factor, all)
  }

  /// What GGUF metadata says, as llama.cpp applies it. `divisors` are the values of
  /// `rope_freqs.weight`.
  private static func read(
    gguf settings: inout Settings, headSize: Int, traits: RopeTraits, divisors: [Float]?
  ) throws(RegateError) -> (rope: Rope, softmaxGrowth: Double) {
    let dimensions = try settings.required(Key("rope.dimension_count", default: headSize))
    guard dimensions > 0, dimensions <= min(headSize, sizeLimit), dimensions % 2 == 0 else {
      throw settings.mismatch(
        "rope.dimension_count", "is \(dimensions), expected an even number up to \(headSize)")
    }
    if let divisors, divisors.count != dimensions / 2 {
      throw settings.mismatch(
        "rope.dimension_count",
        "is \(dimensions), but rope_freqs.weight has \(divisors.count) values")
    }
    let theta = try settings.number(Key("rope.freq_base", default: 10_000)) ?? 10_000
    guard theta > 1 else {
      throw settings.mismatch("rope.freq_base", "is \(theta), expected above 1")
    }
    let kind = try settings.string(Key("rope.scaling.type", default: "linear")) ?? "linear"
    let stated = try settings.number(Key("rope.scaling.factor", "rope.scale_linear", default: 0))
    let factor = stated.flatMap { $0 > 0 ? $0 : nil } ?? 1
    var scaling = Scaling.none
    var multiplier = try settings.number(Key("rope.scaling.attn_factor", default: 1)) ?? 1
    var growth = multiplier * multiplier
    switch kind {
    case "none": break
    case "linear": scaling = .linear(factor: factor)
    case "yarn":
      let context = try settings.number(Key("context_length", default: nil))
      let originalKey = Key<Double>("rope.scaling.original_context_length", default: context)
      guard let original = try settings.number(originalKey), original > 0 else {
        throw settings.missing(originalKey)
      }
      scaling = .yarn(
        factor: factor, original: original,
        fast: try settings.number(Key("rope.scaling.yarn_beta_fast", default: 32)) ?? 32,
        slow: try settings.number(Key("rope.scaling.yarn_beta_slow", default: 1)) ?? 1,
        truncate: true)
      // A tenth of mscale_all_dim; mscale is taken to equal it.
      let log = Key<Double>("rope.scaling.yarn_log_multiplier", default: 0)
      let all = traits.readsYarnLogMultiplier ? (try settings.number(log) ?? 0) / 0.1 : 0
      if all == 0 { multiplier *= yarnScale(factor) }
      growth = multiplier * yarnScale(factor, all)
      growth *= growth
    default:
      throw RegateError(
        .unsupported, file: settings.file, subject: settings.scope + "rope.scaling.type",
        "is \"\(kind)\", expected none, linear or yarn")
    }
    let rope = Rope(
      dimensions: dimensions, theta: theta, scaling: scaling, divisors: divisors,
      multiplier: multiplier, interleaved: traits.ggufInterleaved)
    return (rope, growth)
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
}
