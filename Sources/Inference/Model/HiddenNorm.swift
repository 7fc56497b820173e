// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Tensors

/// The norm of each row of hidden states: RMS, or LayerNorm, which takes the mean away first.
struct HiddenNorm: Sendable {
  /// [H].
  let weight: [Float]
  let bias: [Float]?
  let centres: Bool
  let epsilon: Float

  /// Writes the normalised rows of `source` to `target` of the same shape. Returns whether all of
  /// `source` was finite.
  @discardableResult
  func apply(_ source: MatrixView, into target: MatrixView) -> Bool {
    var source = source
    if centres {
      target.centre(source)
      source = target
    }
    let isFinite = target.normalise(source, weight: weight, epsilon: epsilon)
    if let bias { target.add(toEachRow: bias) }
    return isFinite
  }
}

extension InferenceModel {
  /// Whether norms over hidden states have biases; llama.cpp's are RMS norms all the same.
  private var normBias: Presence {
    let family = layout.family
    let has =
      layout.container == .gguf
      ? family.gguf.made.normBiases : family.huggingFace.made.layerNorms
    return has ? .required : .absent
  }

  private func norm(_ weight: [Float], _ bias: [Float]?) -> HiddenNorm {
    HiddenNorm(
      weight: weight, bias: bias, centres: bias != nil && layout.container == .safetensors,
      epsilon: epsilon)
  }

  /// A norm over hidden states of a layer.
  func norm(_ name: WeightName, layer: Int) throws(RegateError) -> HiddenNorm {
    norm(
      try weights.norm(name, layer: layer, count: hiddenSize),
      try weights.bias(name, layer: layer, count: hiddenSize, normBias))
  }

  /// The norm before the feed-forward part, or before the router alone where it has one of its own.
  func feedForwardNorm(
    layer: Int, _ moeLayer: MoELayer?
  ) throws(RegateError) -> HiddenNorm {
    guard let input = moeLayer?.routerInput else {
      return try norm(.feedForwardNorm, layer: layer)
    }
    return norm(try input.norm(in: checkpoint), nil)
  }

  /// The norm before the output head.
  func finalNorm() throws(RegateError) -> HiddenNorm {
    let (weight, bias) = try weights.finalNorm(bias: normBias)
    return norm(weight, bias)
  }
}
