// SPDX-License-Identifier: Apache-2.0

/// How transformers reads a family: `config.json` and the safetensors names. Keys have the defaults
/// of transformers' configuration classes.
package struct HuggingFaceTraits: Sendable {
  /// `model_type` values.
  package var modelTypes: [String]
  /// Types of another family that the class is published under too; `architectures` tells them
  /// apart.
  package var borrowedTypes: Set<String> = []
  /// Those of them that transformers 5.23 does not register: they load with the model's own code.
  package var unregisteredTypes: Set<String> = []
  /// `architectures` values.
  package var architectures: [String]
  package var defaults: ClassDefaults
  /// The number of layers, where it is not `num_hidden_layers`.
  package var layers: Key<Int>?
  package var experts: Key<Int>
  package var topK: Key<Int>
  package var expertWidth: Key<Int>
  /// Width of dense layers, where it is not that of the experts.
  package var denseWidth: Key<Int>?
  /// Number of shared experts; without a key, 1 where shared tensors are found.
  package var sharedExperts: Key<Int>?
  /// Width of the shared expert, where it is not the experts' width times their number.
  package var sharedWidth: Key<Int>?
  /// The width of what the experts read and write, where they lie between two projections; without
  /// a value they do not.
  package var latentSize: Key<Int>?
  package var sparsity: Sparsity
  package var names: TensorNames
  /// The published experts' matrices are stored [in,out].
  package var transposesExperts = false
  /// Rows of fused gate and up take turns, gate first, instead of gate rows before up rows.
  package var interleavesGateUp = false
  /// Norms of hidden states, queries and keys are stored less 1.
  package var centresNorms = false
  package var selectionBias: BiasSupport = .ignored
  /// The key that says whether there is such a bias; nil: no key does.
  package var usesBias: Key<Bool>?
  package var routing: RoutingTraits
  /// Nil: there are no such factors.
  package var multipliers: MultiplierTraits?
  /// Caps logits: c · tanh(logit / c); no value: nothing does.
  package var logitCap: Key<Double>?
  /// Whether the configuration makes a model with experts; nil: it always does.
  package var hasExperts: Key<Bool>?
  /// What transformers' class is made from and creates, of families that Regate runs.
  package var made = ClassTraits(fields: [:])
  /// Keys with which transformers computes what Regate does not, wherever they are set.
  package var uncomputed: [UncomputedKey] = []
  /// The number of layers for multi-token prediction after the model's own; nil: there are none.
  package var mtpLayers: Key<Int>?
  /// Where the runtimes disagree about the family's checkpoints.
  var caveats: [Caveat] = []
}

/// What the runtimes do with a selection-only bias.
package enum BiasSupport: Sendable {
  /// A tensor of that name is not read (transformers) or makes the file unloadable (llama.cpp).
  case ignored
  case optional
  case expected
}
