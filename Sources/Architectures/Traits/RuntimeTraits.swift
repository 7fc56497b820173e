// SPDX-License-Identifier: Apache-2.0
//
// What serving runtimes make of a family, as far as it does not follow from how they read it. Read
// in or seen with vLLM and SGLang of 2025/26 and mlx-lm d78bf58.

package import Routing

/// What serving runtimes make of a family.
package struct RuntimeTraits: Sendable {
  package var mlx = MLX()
  package var vllm = VLLM()
  package var sglang = SGLang()
  /// Regate's plugin for both refuses weights that are not renormalised.
  package var pluginNeedsNorm = false
  /// The versions of transformers in which the prototype form was run, oldest first.
  package var prototypeTransformers = ["4.57.6", "5.23.0"]

  /// `prototypeTransformers` of families of which there were trained models.
  package static let trainedTransformers = [
    "4.57.6", "5.16.0", "5.17.0", "5.19.0", "5.23.0", "5.24.0",
  ]

  package struct MLX: Sendable {
    /// What mlx-lm insists on in `config.json` under these names.
    package var requiredKeys: [String] = []
    /// What it takes for an absent `rope_theta`.
    package var ropeBase = 10_000.0
    /// It takes the head size to be `hidden_size / num_attention_heads`, whatever `head_dim` says.
    package var derivesHeadSize = false
    /// Values of `quant_method`, beside its own, whose experts it decodes.
    package var decodes: Set<String> = []
    /// Stock checkpoints were run in it.
    package var ranStock = false
  }

  package struct VLLM: Sendable {
    /// It raises an error for a selection bias that it did not expect, instead of skipping it.
    package var refusesStrayBias = false
    /// The value of `topk_method` without which it makes no selection bias.
    package var biasMethod: String?
    /// The versions in which stock checkpoints were run, oldest first.
    package var stock: [String] = []
    /// Those in which the prototype form was run in the Transformers backend.
    package var prototype: [String] = []
    /// Those in which it was run in the family's class of Regate's plugin.
    package var plugin: [String] = []
    /// Its class of the family has the interface that its load balancer of experts (EPLB) works by;
    /// nil where it has no such class.
    package var hasEPLB: Bool?
  }

  package struct SGLang: Sendable {
    /// It takes `norm_topk_prob` for false in a GGUF file.
    package var dropsGGUFNorm = false
    /// Its Transformers backend loads the prototype form.
    package var runsPrototype = false
    /// Regate's package for it has a class of the family.
    package var runsPrototypePackage = false
    /// Neither loads the prototype form.
    package var refusesPrototype = false
    /// Stock checkpoints were run in it.
    package var ranStock = false
    /// Whether its class of the family takes a map of where experts lie.
    package var locations = Locations.unknown
  }

  package enum Locations: Sendable {
    /// It was not looked at, or there is no class of the family.
    case unknown
    case absent
    case taken
    /// Taken, but before 0.5.23 tokens went by the numbers from before the map.
    case mappedLate
  }
}

// What follows from how transformers and llama.cpp read the family.
extension Family {
  /// llama.cpp always renormalises the weights, whatever the configuration says.
  package var llamaCppForcesNorm: Bool {
    guard case .key = huggingFace.routing.normalise else { return false }
    if case .fixed(true) = gguf.routing.normalise { return true }
    return false
  }

  /// transformers never renormalises the weights, llama.cpp does where the file says so.
  package var transformersIgnoresNorm: Bool {
    guard case .fixed(false) = huggingFace.routing.normalise else { return false }
    if case .key = gguf.routing.normalise { return true }
    return false
  }

  /// llama.cpp scores expert groups otherwise than transformers does.
  package var groupScoresDiffer: Bool {
    guard let groups = huggingFace.routing.groups else { return false }
    return groups.score != gguf.routing.groups?.score
  }

  /// llama.cpp can load dense layers of the family.
  package var llamaCppHasDenseLayers: Bool {
    if case .all = gguf.sparsity { false } else { true }
  }

  /// SGLang's class of the family takes a map of where experts lie, as far as is known.
  package var takesSGLangMaps: Bool {
    if case .absent = runtimes.sglang.locations { false } else { true }
  }

  /// What llama.cpp takes for an absent gating function; nil where it stops, or reads none.
  package var assumedGGUFScoring: RoutingRule.Scoring? {
    if case .gatingFunction(let assumed) = gguf.routing.scoring { assumed } else { nil }
  }
}
