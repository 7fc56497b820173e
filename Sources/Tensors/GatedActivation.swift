// SPDX-License-Identifier: Apache-2.0

/// What a gated feed-forward network computes between its matrices, of a gate's and an up
/// projection's values g and u.
package enum GatedActivation: Sendable, Equatable {
  /// silu(g) * u.
  case silu
  /// (u + 1) * g * sigmoid(alpha g), g at most `limit`, u between -limit and limit (GPT-OSS).
  case clampedSwiGLU(alpha: Float, limit: Float)
  /// silu(g) * u, g at most `limit`, u between -limit and limit (DeepSeek-V4).
  case limitedSiLU(limit: Float)

  /// gelu(g) * u, gelu by its approximation with tanh.
  case geluTanh

  /// By the names of transformers' table of activations; nil for one that Regate does not compute.
  package init?(name: String) {
    switch name {
    case "silu", "swish": self = .silu
    case "gelu_pytorch_tanh": self = .geluTanh
    default: return nil
    }
  }
}

extension MatrixView {
  /// self = the activation of self, a gate projection's values, and `up` of the same shape, whose
  /// values may be clamped.
  package func apply(_ activation: GatedActivation, up: MatrixView) {
    switch activation {
    case .silu: multiplySiLU(by: up)
    case .geluTanh: multiplyGELU(by: up)
    case .clampedSwiGLU(let alpha, let limit):
      applyClampedSwiGLU(up: up, alpha: alpha, limit: limit)
    case .limitedSiLU(let limit):
      clamp(to: -.infinity...limit)
      up.clamp(to: -limit...limit)
      multiplySiLU(by: up)
    }
  }
}
