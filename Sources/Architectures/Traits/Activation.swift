// SPDX-License-Identifier: Apache-2.0

package import Tensors

/// What an expert computes between its input and output matrices.
package enum Activation: String, Sendable {
  /// `silu(gate x) * (up x)`.
  case silu
  /// GPT-OSS: clamped, `(up + 1) * gate * sigmoid(1.702 * gate)`, with biases.
  case clampedSwiGLU = "clamped_swiglu"

  /// How Regate computes it; nil where it cannot.
  package var gated: GatedActivation? {
    switch self {
    case .silu: .silu
    case .clampedSwiGLU: nil
    }
  }
}
