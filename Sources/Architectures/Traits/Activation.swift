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
  /// DeepSeek-V4: `silu(gate) * up` of clamped values.
  case limitedSiLU = "limited_silu"
  /// Step-3.5: `silu(gate) * up`, clamped after the former, on layers that have a limit.
  case siluWithLimits = "silu_with_limits"
  /// Llama-4: `silu(gate) * up` of an input that the router's weight was multiplied to.
  case siluOfWeightedInput = "silu_of_weighted_input"
  /// Kimi-K3: gate and up through tanh, the former times its sigmoid.
  case situ
  /// Nemotron-H: `relu(up x)` squared; there is no gate.
  case squaredReLU = "squared_relu"

  /// The key in `config.json` that names it, and the name that it has where the key is absent; nil
  /// where the class reads none, or Regate does not compute it.
  var named: (key: String, name: String)? {
    switch self {
    case .silu: ("hidden_act", "silu")
    case .geluTanh: ("hidden_activation", "gelu_pytorch_tanh")
    default: nil
    }
  }

  /// Whether experts have a gate matrix.
  var isGated: Bool { self != .squaredReLU }

  /// What the experts do, where Regate does not compute it.
  var words: String {
    switch self {
    case .silu: "compute silu(gate) * up"
    case .geluTanh: "compute gelu(gate) * up"
    case .clampedSwiGLU: "compute a clamped SwiGLU"
    case .limitedSiLU: "clamp their values otherwise in each layer"
    case .siluWithLimits: "clamp what silu gives on some layers"
    case .siluOfWeightedInput: "read inputs that the router's weight multiplies"
    case .situ: "compute SiTU"
    case .squaredReLU: "have a squared ReLU and no gate"
    }
  }

  /// As a model computes it, llama.cpp with the numbers in its code; nil where Regate does not.
  func gated(
    _ settings: inout Settings, isGGUF: Bool
  ) throws(RegateError) -> GatedActivation? {
    switch self {
    case .silu: return .silu
    case .geluTanh: return .geluTanh
    case .clampedSwiGLU where isGGUF: return .clampedSwiGLU(alpha: 1.702, limit: 7)
    case .clampedSwiGLU:
      let alpha = try settings.number(Key("swiglu_alpha", default: 1.702)) ?? 1.702
      let limit = try settings.number(Key("swiglu_limit", default: 7)) ?? 7
      return .clampedSwiGLU(alpha: Float(alpha), limit: Float(limit))
    case .limitedSiLU where isGGUF:
      let limits = settings.numbers("swiglu_clamp_exp") ?? []
      guard let limit = limits.first, limit > 0, limits.allSatisfy({ $0 == limit }) else {
        return nil
      }
      return .limitedSiLU(limit: Float(limit))
    case .limitedSiLU:
      let limit = try settings.number(Key("swiglu_limit", default: 10)) ?? 10
      guard limit > 0 else {
        throw settings.mismatch("swiglu_limit", "is \(limit), expected above 0")
      }
      return .limitedSiLU(limit: Float(limit))
    case .siluWithLimits:
      let key = isGGUF ? "swiglu_clamp_exp" : "swiglu_limits"
      return settings.holdsNothing(key) ? .silu : nil
    case .siluOfWeightedInput, .situ, .squaredReLU: return nil
    }
  }
}
