// SPDX-License-Identifier: Apache-2.0
//
// What stands beside a weight, told by its name. Read from transformers 5.23 (integrations),
// compressed-tensors (compressors), ModelOpt, bitsandbytes and llama.cpp's `load_tensors`.

/// What a tensor is to the weight that it stands beside.
enum Companion: Equatable {
  /// Values are multiplied by it.
  case scale
  /// Row scales of 127ths (bitsandbytes' LLM.int8).
  case rowMaximum
  /// Says that rows follow one another (bitsandbytes): 0.
  case rowOrder
  /// Scales are multiplied by it, or divided.
  case globalScale(divides: Bool)
  /// Stored values are counted from it.
  case zeroPoint
  /// Serves quantised activations, or caches of keys and values: no value of the weight depends on
  /// it.
  case activation
  /// The matrix's rows and columns, whose values are packed.
  case unpackedShape
  /// Belongs to the same module, and is read by its own name.
  case own
  /// Part of a scheme that is not computed: the weight alone is not what others compute with.
  case uncomputed
  /// Anything else.
  case unknown

  /// Suffixes of the weight itself: as it is, and packed by compressed-tensors.
  static let weights = ["weight", "weight_packed"]

  /// Blocks of FP4 (GPT-OSS): a byte's dimension of its own, beside which stand `blockScales`.
  static let blocks = "blocks"
  private static let blockScales = "scales"

  /// `suffix` is what follows the module's name; `weight` the same of the weight that it stands
  /// beside.
  init(suffix: String, of weight: String? = nil) {
    if weight == Self.blocks, suffix == Self.blockScales {
      self = .scale
    } else {
      self = Self.known[suffix] ?? (Self.scheme(of: suffix) == nil ? .unknown : .uncomputed)
    }
  }

  private static let known: [String: Companion] = [
    "bias": .own,
    // GGUF, and fused experts.
    "scale": .scale, "scale_inv": .scale,
    "weight_scale": .scale, "weight_scale_inv": .scale,
    "SCB": .rowMaximum, "weight_format": .rowOrder,
    // ModelOpt's and compressed-tensors' NVFP4.
    "weight_scale_2": .globalScale(divides: false),
    "weight_global_scale": .globalScale(divides: true),
    "weight_zero_point": .zeroPoint, "weight_shape": .unpackedShape,
    "input_scale": .activation, "input_scale_ub": .activation, "input_global_scale": .activation,
    "input_zero_point": .activation, "output_scale": .activation, "act_scale": .activation,
    "activation_scale": .activation, "q_scale": .activation, "k_scale": .activation,
    "v_scale": .activation, "kv_scale": .activation,
  ]

  /// What a tensor is that nothing here computes with, and what helps.
  static func refusal(_ suffix: String) -> (meaning: String, advice: String) {
    scheme(of: suffix) ?? ("is not understood", "use a checkpoint without it")
  }

  private static func scheme(of suffix: String) -> (meaning: String, advice: String)? {
    func isOneOf(_ words: String...) -> Bool { words.contains { suffix.hasPrefix($0) } }
    let other = "use the unquantised, FP8 or GGUF form of the model"
    if suffix.contains("lora_") || isOneOf("base_layer") {
      return ("is part of an adapter", "merge the adapter into the weights first")
    }
    if isOneOf("qweight", "qzeros", "scales", "g_idx", "biases") {
      return ("belongs to a weight of packed integers (GPTQ, AWQ, MLX)", other)
    }
    if isOneOf("weight_packed", "weight_g_idx", "blocks") {
      return ("belongs to a packed weight", other)
    }
    if isOneOf("weight.absmax", "weight.quant_", "weight.nested_") {
      return ("belongs to a weight that bitsandbytes packed", other)
    }
    if isOneOf("pre_quant_scale", "smooth") { return ("scales the weight's inputs", other) }
    if suffix.contains("scale") { return ("is a scale of an unknown kind", other) }
    return suffix.hasPrefix("weight") ? ("belongs to a weight in an unknown form", other) : nil
  }
}
