// SPDX-License-Identifier: Apache-2.0

/// A program that serves or loads checkpoints.
public enum Runtime: String, Sendable, CaseIterable {
  case vllm, sglang, transformers
  case llamaCpp = "llama.cpp"
  case mlx
}
