// SPDX-License-Identifier: Apache-2.0
//
// `rope_scaling` unless it is absent, null or empty, otherwise `rope_parameters`; the base from
// there or from the top level.

import Checkpoints
import OrderedCollections

extension ClassConfiguration {
  /// The numbers without which each kind stops.
  private static let needed: [String: [String]] = [
    "default": [], "linear": ["factor"], "dynamic": ["factor"], "yarn": ["factor"],
    "llama3": ["factor", "low_freq_factor", "high_freq_factor"], "longrope": [],
  ]
  /// Numbers that a kind may do without.
  private static let optional: [String: [String]] = [
    "yarn": ["attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"],
    "longrope": ["attention_factor", "factor"],
  ]
  private static let keepingContext: Set = ["yarn", "llama3", "longrope"]

  /// The object that scales, and its key.
  private var rotation: (key: String, object: JSONValue) {
    for key in ["rope_scaling", "rope_parameters"] {
      if let object = config[key], object.objectValue?.isEmpty == false { return (key, object) }
    }
    return ("rope_parameters", .object([:]))
  }

  /// Objects for each kind of layers.
  private mutating func checkGlobalRope() {
    if let scaling = config["rope_scaling"], !scaling.isNull {
      refuse("rope_scaling", "stands for rope_parameters, which has an object for each kind")
    }
    guard let parameters = config["rope_parameters"], !parameters.isNull else { return }
    for name in ["sliding_attention", "full_attention"] {
      let key = "rope_parameters.\(name)"
      guard let object = parameters[name], object.objectValue != nil else {
        doubt(key, "is no object")
        continue
      }
      checkBase(key, object)
      let kind = object["rope_type"]?.stringValue
      guard kind == "default" || kind == "proportional" else {
        doubt(key, "rope_type is \(object["rope_type"]?.short ?? "absent")")
        continue
      }
      if object["rope_theta"] == nil { doubt(key + ".rope_theta", "is absent") }
    }
  }

  mutating func checkRope() {
    if family.mixer?.groupedQuery?.global != nil { return checkGlobalRope() }
    let (key, object) = rotation
    checkBase(key, object)
    let kind = (object["rope_type"] ?? object["type"])
    guard let name = kind == nil ? "default" : kind?.stringValue else {
      return refuse(key, "rope_type is \(kind?.short ?? ""), expected a string")
    }
    guard let needed = Self.needed[name] else {
      return name == "proportional"
        ? doubt(key, "rope_type proportional is not known here")
        : refuse(key, "rope_type is \"\(name)\", which is no kind that it knows")
    }
    checkPart(object, isScaled: name != "default")
    let own = name == "default" ? [] : made.scaledRotationNumbers
    for field in needed + own where object[field]?.doubleValue == nil {
      // YaRN's then follows from the contexts.
      if name == "yarn", object[field]?.isNull == true { continue }
      let state = object[field].map { "is \($0.short)" } ?? "is absent"
      refuse("\(key).\(field)", "\(state), but rope_type is \(name): expected a number")
    }
    for field in Self.optional[name] ?? [] {
      guard let value = object[field], value.doubleValue == nil, !value.isNull else { continue }
      doubt("\(key).\(field)", "is \(value.short), where a number should be")
    }
    if name == "longrope" { checkLongFactors(key, object) }
    if Self.keepingContext.contains(name) { checkContext(key, object) }
    if made.scaledRotationNeedsHeadSize, config["head_dim"]?.intValue == nil,
      ["yarn", "dynamic", "longrope"].contains(name)
    {
      refuse("head_dim", "is not given, and rope_type \(name) stops without it")
    }
  }

  private mutating func checkBase(_ key: String, _ object: JSONValue) {
    guard let base = object["rope_theta"] ?? config["rope_theta"] else { return }
    let place = object["rope_theta"] == nil ? "rope_theta" : "\(key).rope_theta"
    guard let value = base.doubleValue ?? (base.boolValue == true ? 1 : nil) else {
      return refuse(place, "is \(base.short), expected a number above 0")
    }
    if value <= 0 { doubt(place, "is \(base.short), expected a number above 0") }
  }

  /// Families that rotate whole heads stop where a scaled kind rotates a part.
  private mutating func checkPart(_ object: JSONValue, isScaled: Bool) {
    let name = "partial_rotary_factor"
    guard let part = object[name] ?? config[name], isScaled || made.rotatesPart else { return }
    if object[name] == nil, part.isNull { return }
    guard let value = part.doubleValue ?? (part.boolValue == true ? 1 : nil), value > 0, value <= 1,
      made.rotatesPart || value == 1
    else { return refuse(name, "is \(part.short), which it cannot rotate") }
  }

  private mutating func checkLongFactors(_ key: String, _ object: JSONValue) {
    if made.rotatesPart { doubt(key, "longrope of a part of each head is not known here") }
    for field in ["short_factor", "long_factor"] {
      let numbers = object[field]?.arrayValue?.compactMap(\.doubleValue)
      guard let numbers, numbers.count == object[field]?.arrayValue?.count else {
        refuse("\(key).\(field)", "is no list of numbers")
        continue
      }
      if let size = rotatedSize, numbers.count != size / 2, numbers.count != 1 {
        refuse("\(key).\(field)", "has \(numbers.count) numbers, expected \(size / 2)")
      }
    }
  }

  /// The size of a head's rotated part; nil where it is not known.
  private var rotatedSize: Int? {
    if case .latent = family.mixer { return integer("qk_rope_head_dim", 64) }
    if made.rotatesPart { return nil }
    let heads = integer("num_attention_heads", family.huggingFace.defaults.heads)
    let hidden = integer("hidden_size", family.huggingFace.defaults.hiddenSize)
    return config["head_dim"]?.intValue ?? hidden / heads
  }

  private mutating func checkContext(_ key: String, _ object: JSONValue) {
    let name = "original_max_position_embeddings"
    guard let context = config[name] ?? object[name] else { return }
    guard let value = context.doubleValue, value > 0 else {
      return refuse("\(key).\(name)", "is \(context.short), expected a number above 0")
    }
  }
}
