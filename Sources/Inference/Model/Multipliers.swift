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

  init(_ source: inout MixerSettings) throws(RegateError) {
    let family = source.layout.family
    let isGGUF = source.isGGUF
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
}
