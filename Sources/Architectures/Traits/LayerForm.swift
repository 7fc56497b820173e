// SPDX-License-Identifier: Apache-2.0

/// How a family's layers put their parts together.
package enum LayerForm: Sendable {
  /// h += mix(norm h), then h += experts(norm h) + shared(norm h).
  case plain
  /// What every part gives is normalised before it is added. Shared experts are the layer's dense
  /// network and have norms of their own beside those of the routed ones, the router a third, which
  /// has no weight but a scale of its input. A scalar multiplies what a layer gives (Gemma 4).
  case branched
}
