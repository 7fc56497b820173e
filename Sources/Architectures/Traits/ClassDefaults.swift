// SPDX-License-Identifier: Apache-2.0

/// What transformers 5.23 takes for absent keys that every family's configuration class has.
package struct ClassDefaults: Sendable {
  package var hiddenSize: Int
  package var layers: Int
  package var heads: Int
  package var vocabulary: Int
  /// `max_position_embeddings`.
  package var context: Int
  /// `rms_norm_eps`.
  package var epsilon: Double
}
