// SPDX-License-Identifier: Apache-2.0
//
// Rotations of two kinds of layers, those with a window and those that see all tokens (Gemma 4):
// `rope_parameters` has an object for each. `proportional` rotates the first pairs of a head, as
// many as `partial_rotary_factor` says, with the frequencies of the whole one: f_i = theta^(-2i/d)
// for i < floor(part d / 2), 0 for the others.

import Architectures
import ByteStorage

extension Rope {
  /// The rotation of a layer's heads.
  static func read(
    _ traits: RopeTraits, of layer: GlobalAttentionTraits.Layer, _ source: inout MixerSettings
  ) throws(RegateError) -> Rope {
    let (headSize, isGlobal) = (layer.headSize, layer.isGlobal)
    if source.isGGUF {
      // Without a window llama.cpp reads the keys of every architecture.
      return isGlobal
        ? try read(traits, headSize: headSize, &source).rope
        : try windowed(gguf: &source.settings, dimensions: layer.rotated, traits)
    }
    guard headSize % 2 == 0, headSize <= sizeLimit else {
      throw source.settings.mismatch(
        isGlobal ? "global_head_dim" : "head_dim",
        "is \(headSize), expected an even number up to \(sizeLimit) to rotate")
    }
    let name = isGlobal ? "full_attention" : "sliding_attention"
    guard source.settings.text(of: "rope_parameters") ?? "null" != "null" else {
      return isGlobal
        ? proportional(headSize, theta: 1_000_000, part: 0.25, factor: 1)
        : Rope(dimensions: headSize, theta: 10_000, scaling: .none, interleaved: false)
    }
    guard var object = source.settings.nested("rope_parameters")?.nested(name) else {
      throw source.settings.mismatch(
        "rope_parameters", "has no object \(name), which the model's layers need")
    }
    return try read(&object, headSize: headSize)
  }

  private static func read(
    _ object: inout Settings, headSize: Int
  ) throws(RegateError) -> Rope {
    let theta = try object.number(Key("rope_theta", default: nil)) ?? 0
    guard theta > 1 else {
      throw object.mismatch("rope_theta", "is \(theta), expected above 1")
    }
    switch try object.string(Key("rope_type", default: "default")) {
    case "default":
      return Rope(dimensions: headSize, theta: theta, scaling: .none, interleaved: false)
    case "proportional":
      let part = try object.number(Key("partial_rotary_factor", default: 1)) ?? 1
      guard part > 0, part <= 1 else {
        throw object.mismatch("partial_rotary_factor", "is \(part), expected above 0, up to 1")
      }
      let factor = try object.number(Key("factor", default: 1)) ?? 1
      guard factor > 0 else { throw object.mismatch("factor", "is \(factor), expected above 0") }
      return proportional(headSize, theta: theta, part: part, factor: factor)
    case let other:
      throw RegateError(
        .unsupported, file: object.file, subject: object.scope + "rope_type",
        "is \"\(other ?? "null")\", expected default or proportional for this family")
    }
  }

  private static func proportional(
    _ headSize: Int, theta: Double, part: Double, factor: Double
  ) -> Rope {
    let rotated = Int((part * Double(headSize) / 2).rounded(.down))
    return Rope(
      dimensions: headSize, theta: theta, scaling: factor == 1 ? .none : .linear(factor: factor),
      divisors: (0..<headSize / 2).map { $0 < rotated ? 1 : .infinity }, interleaved: false)
  }

  private static func windowed(
    gguf settings: inout Settings, dimensions: Int, _ traits: RopeTraits
  ) throws(RegateError) -> Rope {
    guard dimensions <= sizeLimit else {
      throw settings.mismatch(
        "rope.dimension_count_swa", "is \(dimensions), expected at most \(sizeLimit)")
    }
    let base = Key("rope.freq_base_swa", default: 10_000.0)
    let theta = try settings.number(base) ?? 10_000
    guard theta > 1 else {
      throw settings.mismatch(base.names[0], "is \(theta), expected above 1")
    }
    return Rope(
      dimensions: dimensions, theta: theta, scaling: .none, interleaved: traits.ggufInterleaved)
  }
}
