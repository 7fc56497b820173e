// SPDX-License-Identifier: Apache-2.0

/// A program that serves or loads checkpoints.
public enum Runtime: String, Sendable, CaseIterable {
  case vllm, sglang, transformers
  case llamaCpp = "llama.cpp"
  case mlx

  /// Whether it spreads so many experts over so many expert-parallel ranks: SGLang (0.5.23:
  /// layers/moe/fused_moe_triton/layer.py) asserts that the ranks divide them.
  package func spreads(_ experts: Int, over ranks: Int) -> Bool {
    self != .sglang || ranks > 0 && experts % ranks == 0
  }
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
