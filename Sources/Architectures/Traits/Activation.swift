// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Tensors

/// What an expert computes between its input and output matrices.
package enum Activation: String, Sendable {
  /// `silu(gate x) * (up x)`.
  case silu
  /// Gemma: `gelu(gate x) * (up x)`, gelu by its approximation with tanh.
  case geluTanh = "gelu_tanh"
  /// GPT-OSS: clamped, `(up + 1) * gate * sigmoid(1.702 * gate)`.
  case clampedSwiGLU = "clamped_swiglu"

  /// The key in `config.json` that names it, and the name that it has where the key is absent; nil
  /// where the class reads none.
  var named: (key: String, name: String)? {
    switch self {
    case .silu: ("hidden_act", "silu")
    case .geluTanh: ("hidden_activation", "gelu_pytorch_tanh")
    case .clampedSwiGLU: nil
    }
  }

  /// As a model computes it: llama.cpp has the numbers in its code.
  func gated(_ settings: inout Settings, isGGUF: Bool) throws(RegateError) -> GatedActivation {
    switch self {
    case .silu: return .silu
    case .geluTanh: return .geluTanh
    case .clampedSwiGLU where isGGUF: return .clampedSwiGLU(alpha: 1.702, limit: 7)
    case .clampedSwiGLU:
      let alpha = try settings.number(Key("swiglu_alpha", default: 1.702)) ?? 1.702
      let limit = try settings.number(Key("swiglu_limit", default: 7)) ?? 7
      guard limit > 0 else {
        throw settings.mismatch("swiglu_limit", "is \(limit), expected above 0")
      }
      return .clampedSwiGLU(alpha: Float(alpha), limit: Float(limit))
    }
  }
}
