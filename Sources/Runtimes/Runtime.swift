// SPDX-License-Identifier: Apache-2.0

/// A program that serves or loads checkpoints.
public enum Runtime: String, Sendable, CaseIterable {
  case vllm, sglang, transformers
  case llamaCpp = "llama.cpp"
  case mlx
}

extension CheckRule {
  /// What is known of one runtime.
  static func rules(for runtime: Runtime) -> [CheckRule] {
    switch runtime {
    case .vllm: vllm
    case .sglang: sglang
    case .transformers: transformers
    case .llamaCpp: llamaCpp
    case .mlx: mlx
    }
  }
}
