// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Foundation

extension Rope {
  /// The rotation of heads of `headSize` dimensions, and the factor by which YaRN grows the softmax
  /// scale of latent attention.
  static func read(
    _ traits: RopeTraits, headSize: Int, _ source: inout MixerSettings
  ) throws(RegateError) -> (rope: Rope, softmaxGrowth: Double) {
    guard source.isGGUF else {
      return try HuggingFaceRope(traits, headSize: headSize, source).rope()
    }
    let made = source.layout.family.gguf.made
    let isLong =
      switch made.rotationFactors {
      case .longRope: true
      case .byScaling, .none, .required:
        try source.settings.string(.optional(typeKey)) == "longrope"
      }
    let name = isLong ? "rope_factors_short" : "rope_freqs"
    let divisors = try source.weights.ropeDivisors(
      name, isRequired: made.rotationFactors == .required
    ).map { Divisors(name: name, values: $0) }
    try requirePlainWindows(&source)
    return try read(
      gguf: &source.settings, headSize: headSize, traits: traits, divisors: divisors)
  }

  /// Where layers with windows alternate with others, llama.cpp scales the former's rotations by
  /// the factor whatever the type says.
  private static func requirePlainWindows(
    _ source: inout MixerSettings
  ) throws(RegateError) {
    guard case .alternating = source.layout.family.mixer?.groupedQuery?.window,
      try source.settings.string(.optional(typeKey)) == "none",
      let factor = try source.settings.number(factorKey), factor != 0, factor != 1
    else { return }
    throw source.settings.mismatch(
      factorKey.names[0],
      "is \(factor), but \(typeKey) is none: llama.cpp scales layers with a window all the same",
      advice: "remove the factor")
  }

  private static let typeKey = "rope.scaling.type"
  private static let factorKey = Key<Double>(
    "rope.scaling.factor", "rope.scale_linear", default: 0)

  /// What frequencies are divided by.
  private struct Divisors {
    let name: String
    let values: [Float]
    /// Those of longrope are for sequences of up to the original context.
    var areShort: Bool { name == "rope_factors_short" }
  }

  /// Wider heads are corrupt files: published models have up to 576.
  static let sizeLimit = 1 << 16

  /// What GGUF metadata says, as llama.cpp applies it.
  private static func read(
    gguf settings: inout Settings, headSize: Int, traits: RopeTraits, divisors: Divisors?
  ) throws(RegateError) -> (rope: Rope, softmaxGrowth: Double) {
    // llama.cpp does not load a file without it.
    let contextKey = Key<Double>("context_length", default: nil)
    guard let context = try settings.number(contextKey) else { throw settings.missing(contextKey) }
    let dimensions = try ggufDimensions(&settings, headSize: headSize, traits, divisors)
    let still = try stillPairs(&settings, pairs: dimensions / 2, traits.ggufSections)
    let values: [Float]? =
      still.isEmpty
      ? divisors?.values
      : (0..<dimensions / 2).map {
        still.contains($0) ? Float.infinity : divisors?.values[$0] ?? 1
      }
    let theta = try settings.number(Key("rope.freq_base", default: 10_000)) ?? 10_000
    guard theta > 1 else {
      throw settings.mismatch("rope.freq_base", "is \(theta), expected above 1")
    }
    let kind = try settings.string(Key(typeKey, default: "linear")) ?? "linear"
    let stated = try settings.number(factorKey) ?? 0
    guard stated >= 0 else {
      throw settings.mismatch(factorKey.names[0], "is \(stated), expected above 0, or 0 for none")
    }
    let factor = stated == 0 ? 1 : stated
    let attention = try settings.number(Key("rope.scaling.attn_factor", default: 1)) ?? 1
    // A tenth of mscale_all_dim.
    let logKey = Key<Double>("rope.scaling.yarn_log_multiplier", default: 0)
    let all = traits.readsYarnLogMultiplier ? (try settings.number(logKey) ?? 0) / 0.1 : 0
    var scaling = Scaling.none
    var multiplier = attention
    var growth = attention
    switch kind {
    case "none": break
    case "linear", "longrope":
      scaling = .linear(factor: factor)
      // llama.cpp takes back here what it took from the attention factor, which it did for YaRN.
      if traits.growsSoftmax {
        growth *= (1 + 0.1 * log(factor)) * (1 + 0.1 * all * log(factor))
      }
    case "yarn":
      scaling = .yarn(
        factor: factor, original: try ggufOriginal(&settings, context: context), fast: 32, slow: 1,
        truncate: true)
      if all == 0 || !traits.ggufEqualsScales {
        multiplier *= yarnScale(factor) / yarnScale(factor, all)
      }
      growth = multiplier * yarnScale(factor, all)
    default:
      throw RegateError(
        .unsupported, file: settings.file, subject: settings.scope + "rope.scaling.type",
        "is \"\(kind)\", expected none, linear, yarn or longrope")
    }
    var limit: Limit?
    if divisors?.areShort == true {
      // Here llama.cpp compares with what the file says, be it 0.
      let key = Key("rope.scaling.original_context_length", default: context)
      let original = try settings.number(key) ?? context
      guard original > 0 else {
        throw settings.mismatch(
          key.names[0], "is \(original), with which llama.cpp takes the long factors for all")
      }
      limit = Limit(positions: Int(original), kind: "part of longrope")
    }
    var rope = Rope(
      dimensions: dimensions, theta: theta, scaling: scaling, divisors: values,
      multiplier: multiplier, interleaved: traits.ggufInterleaved, limit: limit)
    if traits.ggufGrowsQueries { rope.queryGrowth = try ggufQueryGrowth(&settings) }
    return (rope, growth * growth)
  }

  private static func ggufDimensions(
    _ settings: inout Settings, headSize: Int, _ traits: RopeTraits, _ divisors: Divisors?
  ) throws(RegateError) -> Int {
    let key = Key("rope.dimension_count", default: headSize)
    let dimensions = try settings.required(key)
    guard dimensions > 0, dimensions <= min(headSize, sizeLimit), dimensions % 2 == 0 else {
      throw settings.mismatch(
        key.names[0], "is \(dimensions), expected an even number up to \(headSize)")
    }
    guard dimensions == headSize || !traits.ggufRotatesWholeHeads else {
      throw settings.mismatch(
        key.names[0], "is \(dimensions), expected \(headSize), without which llama.cpp stops")
    }
    if let divisors, divisors.values.count != dimensions / 2 {
      throw settings.mismatch(
        key.names[0],
        "is \(dimensions), but \(divisors.name).weight has \(divisors.values.count) values")
    }
    return dimensions
  }

  /// The pairs that are turned by a token's last position, which is 0 in text.
  private static func stillPairs(
    _ settings: inout Settings, pairs: Int, _ kind: PositionSections
  ) throws(RegateError) -> Set<Int> {
    if case .none = kind { return [] }
    let key = Key<Int>("rope.dimension_sections", default: nil)
    guard let found = try settings.perLayer(key) else {
      guard case .byTurns = kind else { return [] }
      throw settings.missing(key)
    }
    guard case .each(let sections) = found, sections.count == 4 else {
      throw settings.mismatch(key.names[0], "is \(found), expected four numbers")
    }
    let total = sections.reduce(0, +)
    switch kind {
    case .none: return []
    case .byTurns:
      guard total > sections[3] else {
        throw settings.mismatch(
          key.names[0],
          "is \(sections), which leaves the \(pairs) rotated pairs without a position")
      }
      return Set((0..<pairs).filter { $0 % total >= 3 * sections[$0 % total % 3] })
    case .inRow:
      guard sections[0] > 0, sections[1] > 0 else { return [] }
      return Set((0..<pairs).filter { $0 % total >= total - sections[3] })
    }
  }

  private static func ggufQueryGrowth(
    _ settings: inout Settings
  ) throws(RegateError) -> QueryGrowth? {
    let scale = try settings.number(Key("attention.temperature_scale", default: 0)) ?? 0
    guard scale != 0 else { return nil }
    let key = Key<Int>("attention.temperature_length", default: nil)
    return QueryGrowth(beta: scale, length: Double(try settings.required(key, minimum: 1)))
  }

  /// The context that the model was trained with before YaRN; 0 counts as absent.
  private static func ggufOriginal(
    _ settings: inout Settings, context: Double
  ) throws(RegateError) -> Double {
    let key = Key("rope.scaling.original_context_length", default: context)
    let stated = try settings.number(key) ?? 0
    let original = stated == 0 ? context : stated
    guard original > 0 else {
      throw settings.mismatch(key.names[0], "is \(original), expected above 0")
    }
    return original
  }
}
