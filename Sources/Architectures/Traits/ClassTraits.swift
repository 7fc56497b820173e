// SPDX-License-Identifier: Apache-2.0

/// What transformers' class of a family is made from and creates, beside what follows from the
/// family's attention, experts and routing.
package struct ClassTraits: Sendable {
  /// Types of the keys that not every class has, or that have others here.
  var fields: [String: FieldTypes]
  /// The words that the class takes under a key.
  var words: [String: [String]] = [:]
  package var shared = SharedParameters.none
  /// Whether dense layers have biases.
  var denseBiases: Key<Bool>?
  /// Whether the output matrix has a bias.
  package var headBias: Key<Bool>?
  /// Norms over hidden states are LayerNorms with biases, in place of RMS norms.
  package var layerNorms = false
  var expertBiases = false
  /// The selection bias is stored as [1,E].
  var biasIsRow = false
  /// `tie_word_embeddings` where the key is absent.
  package var tiesHead = false
  /// The class stops where the hidden size is no multiple of the query heads.
  var headsDivideHidden = false
  /// The class rotates a part of a head where `partial_rotary_factor` says so.
  var rotatesPart = false
  /// Numbers without which the class stops at scaled rotations of any kind.
  var scaledRotationNumbers: [String] = []
  /// The class stops at scaled rotations without `head_dim`, which it holds as None.
  var scaledRotationNeedsHeadSize = false

  /// How the class calls the shared experts.
  package enum SharedParameters: Sendable {
    case none
    /// As wide as `n_shared_experts` experts.
    case counted(String)
    /// The same, but none where there are none.
    case countedIfAny(String)
    /// Of a width of their own.
    case ofWidth(String)
    /// The same, with a gate.
    case gated(String)
    /// Of a width of their own, gate and up in one matrix, for one model type.
    case fused(String, width: Key<Int>, modelType: String)
  }
}
