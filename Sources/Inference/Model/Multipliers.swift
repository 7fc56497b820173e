// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage

/// Factors of parts of the computation, 1 where a model has none.
struct Multipliers: Sendable {
  /// Of embedded tokens.
  var embedding: Float = 1
  /// Of what each part of a layer adds to the hidden states.
  var residual: Float = 1
  /// Of logits.
  var logits: Float = 1
  /// Logits become c · tanh(logit / c); nil: they stay.
  var logitCap: Float?

  init(_ source: inout MixerSettings) throws(RegateError) {
    let family = source.layout.family
    let isGGUF = source.isGGUF
    if family.scalesEmbedding { embedding = Float(source.hiddenSize).squareRoot() }
    logitCap = try Self.cap(isGGUF ? family.gguf.logitCap : family.huggingFace.logitCap, &source)
    let keys = isGGUF ? family.gguf.multipliers : family.huggingFace.multipliers
    guard let keys else { return }
    func ofStates(_ key: Key<Double>) throws(RegateError) -> Float {
      let factor = try source.settings.number(key) ?? 1
      return isGGUF && factor == 0 ? 1 : Float(factor)
    }
    embedding = try ofStates(keys.embedding)
    residual = try ofStates(keys.residual)
    guard let divisor = try source.settings.number(keys.logits) else {
      throw source.settings.missing(keys.logits)
    }
    guard divisor > 0 else {
      throw source.settings.mismatch(
        keys.logits.names[0], "is \(divisor), expected above 0: logits are divided by it")
    }
    logits = Float(1 / divisor)
  }

  /// llama.cpp takes 0 for none, transformers divides by it.
  private static func cap(
    _ key: Key<Double>?, _ source: inout MixerSettings
  ) throws(RegateError) -> Float? {
    guard let key, let cap = try source.settings.number(key) else { return nil }
    if source.isGGUF, cap == 0 { return nil }
    guard cap > 0 else {
      throw source.settings.mismatch(key.names[0], "is \(cap), expected above 0")
    }
    return Float(cap)
  }
}
