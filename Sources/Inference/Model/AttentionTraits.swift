// SPDX-License-Identifier: Apache-2.0
//
// How the families attend (transformers 5.23; llama.cpp 0.5.0-dev for GGUF).

import Architectures

/// What differs between the attention blocks of the families that Regate runs.
struct AttentionTraits {
  enum QueryKeyNorm {
    case none
    /// Over each head, before the rotation.
    case perHead
    /// Over each head, where a key says so.
    case perHeadIf(Key<Bool>)
    /// Over the whole projected width.
    case wholeWidth
  }

  enum SlidingWindow {
    case none
    /// `sliding_window` wherever it is set.
    case key
    /// `sliding_window` where `use_sliding_window` is set.
    case switched
    /// The same, on even layers below `max_window_layers`, or on those that `layer_types` names.
    case switchedOnEvenLayers
  }

  /// Multi-head latent attention (DeepSeek) instead of grouped queries.
  var latent = false
  var norm = QueryKeyNorm.none
  /// The key that gives the projections biases; nil: never.
  var bias: Key<Bool>?
  /// Whether the output projection has a bias where the others have one.
  var outputBias = false
  var window = SlidingWindow.none
  /// Rotated pairs are (2i, 2i + 1) instead of (i, i + d/2), in safetensors and in GGUF files.
  var interleaved = (huggingFace: false, gguf: false)
  var defaultTheta = 10_000.0
  /// The part of a head that is rotated.
  var partialRotation = 1.0
  /// The second norm's name in GGUF files.
  var ggufSecondNorm = "ffn_norm"
  /// The shared expert is weighted by the sigmoid of a gate.
  var sharedGate = false
}

extension AttentionTraits {
  /// The traits of `family`; nil where Regate cannot run it.
  static func of(_ family: Family) -> AttentionTraits? {
    let biased = Key("attention_bias", default: false)
    switch family.name {
    case "mixtral":
      return AttentionTraits(
        window: .key, interleaved: (huggingFace: false, gguf: true), defaultTheta: 1_000_000)
    case "qwen3_moe":
      return AttentionTraits(norm: .perHead, bias: biased, outputBias: true, window: .switched)
    case "deepseek_v2", "deepseek_v3":
      return AttentionTraits(
        latent: true, bias: biased, outputBias: true, interleaved: (huggingFace: true, gguf: true))
    case "qwen2_moe":
      return AttentionTraits(
        bias: Key("qkv_bias", default: true), window: .switchedOnEvenLayers, sharedGate: true)
    case "olmoe":
      return AttentionTraits(norm: .wholeWidth, bias: biased, outputBias: true)
    case "glm4_moe":
      return AttentionTraits(
        norm: .perHeadIf(Key("use_qk_norm", default: false)), bias: biased, partialRotation: 0.5,
        ggufSecondNorm: "post_attention_norm")
    default:
      return nil
    }
  }
}
