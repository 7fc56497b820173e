// SPDX-License-Identifier: Apache-2.0

/// The keys of factors that a family's models have in parts of their computation (Granite).
package struct MultiplierTraits: Sendable {
  /// Of embedded tokens.
  package var embedding: Key<Double>
  /// Of what each part of a layer adds to the hidden states.
  package var residual: Key<Double>
  /// Logits are divided by it.
  package var logits: Key<Double>
}
