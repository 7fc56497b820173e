// SPDX-License-Identifier: Apache-2.0

import Architectures

/// One layer as data: h += Mix(norm(h)), then h += FF(norm(h)).
struct ModelLayer: Sendable {
  var mixer: any TokenMixer
  let feedForward: FeedForward

  /// The part in which tokens do not see one another.
  enum FeedForward: Sendable {
    /// One network for every token.
    case dense
    /// Routed experts, and shared ones where the layer has them.
    case experts(MoELayer)
  }
}
