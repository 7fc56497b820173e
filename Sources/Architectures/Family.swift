// SPDX-License-Identifier: Apache-2.0

package import Routing

/// A Mixture-of-Experts architecture: how its checkpoints name their parts and how it routes.
///
/// Everything here is data. One table entry per family (`Family.all`) is the only place that knows
/// a family's config keys, tensor names and routing; the readers know none by name.
public struct Family: Sendable {
  /// What Regate can do with a family.
  public enum Tier: String, Sendable {
    /// Inspected, fitted, converted and validated.
    case convertible
    /// Inspected only.
    case inspectable
  }

  /// Identifier in reports, e.g. `qwen3_moe`.
  public let name: String
  /// The name that people use, e.g. `Qwen3-MoE`.
  public let title: String
  public let tier: Tier
  /// What the experts compute between their matrices.
  public let activation: Activation
  package let huggingFace: HuggingFaceTraits
  package let gguf: GGUFTraits
}

/// What an expert computes between its input and output matrices.
public enum Activation: String, Sendable {
  /// `silu(gate x) * (up x)`.
  case silu
  /// GPT-OSS: clamped, `(up + 1) * gate * sigmoid(1.702 * gate)`, with biases.
  case clampedSwiGLU = "clamped_swiglu"
}

/// How transformers reads a family: `config.json` and the safetensors names.
package struct HuggingFaceTraits: Sendable {
  /// `model_type` values.
  package var modelTypes: [String]
  /// `architectures` values.
  package var architectures: [String]
  package var experts: Key<Int>
  package var topK: Key<Int>
  package var expertWidth: Key<Int>
  /// Number of shared experts; without a key, 1 where shared tensors are found.
  package var sharedExperts: Key<Int>?
  package var sparsity: Sparsity
  package var names: TensorNames
  package var selectionBias: BiasSupport = .ignored
  package var routing: RoutingTraits
}

/// How llama.cpp reads a family. Keys are without the `{arch}.` prefix.
package struct GGUFTraits: Sendable {
  package var architecture: String
  /// What stands in for an absent `expert_feed_forward_length`.
  package var expertWidthFallback: WidthFallback = .required
  package var sparsity: Sparsity = .all
  package var selectionBias: BiasSupport = .ignored
  package var gateBias = false
  /// Whether llama.cpp accepts `ffn_gate_up_exps` for this architecture.
  package var fusedGateUp = false
  package var routing: RoutingTraits

  package enum WidthFallback: Sendable {
    case required
    case feedForward
    case feedForwardOverTopK
  }
}

/// A configuration value: its spellings, the first found wins, and what an absent one means.
package struct Key<Value: Sendable>: Sendable {
  package var names: [String]
  /// nil: must be given.
  package var fallback: Value?

  package init(_ names: String..., default fallback: Value?) {
    self.init(names, default: fallback)
  }

  package init(_ names: [String], default fallback: Value?) {
    self.names = names
    self.fallback = fallback
  }
}

/// Which layers are MoE.
package enum Sparsity: Sendable {
  case all
  /// n >= key.
  case afterLeadingDense(Key<Int>)
  /// n not in `mlp_only_layers` and (n + 1) divisible by `decoder_sparse_step`.
  case stepped(step: Key<Int>, dense: String)
  /// (n + 1) divisible by `interval`, start <= n <= end; end -1 is the last layer.
  case interval(Key<Int>, start: Key<Int>, end: Key<Int>?)
}

/// What the runtimes do with a selection-only bias.
package enum BiasSupport: Sendable {
  /// A tensor of that name is not read (transformers) or makes the file unloadable (llama.cpp).
  case ignored
  case optional
  case expected
}

/// How a runtime routes: where each field of `RoutingRule` comes from.
package struct RoutingTraits: Sendable {
  package var scoring: Scoring
  package var normalise: Switch
  package var guarding: NormaliseGuard = .fixed(.none)
  package var scale: Scale = .one
  package var groups: Groups?
  package var logits: Logits = .routerType
  /// The sparse mixer's threshold.
  package var jitter: Key<Double>?

  package enum Scoring: Sendable {
    case fixed(RoutingRule.Scoring)
    /// GGUF `expert_gating_func`; the default is what llama.cpp takes for an absent key, nil where
    /// it stops.
    case gatingFunction(default: RoutingRule.Scoring?)
  }

  package enum Switch: Sendable {
    case fixed(Bool)
    case key(Key<Bool>)
  }

  package enum NormaliseGuard: Sendable {
    case fixed(RoutingRule.Guard)
    case clampKey(Key<Double>)
  }

  package enum Scale: Sendable {
    case one
    /// `zeroIsOne`: llama.cpp takes 0 for "no scaling".
    case key(Key<Double>, zeroIsOne: Bool)
  }

  package struct Groups: Sendable {
    package var count: Key<Int>
    package var kept: Key<Int>
    package var score: RoutingRule.Groups.Score
    package var mask: RoutingRule.Groups.Mask
    /// A string key that switches groups on, and the values that it may have.
    package var method: (key: Key<String>, on: String, off: String)?
  }

  package enum Logits: Sendable {
    /// The router's matrix product runs in the router's stored type.
    case routerType
    case float32
  }
}
