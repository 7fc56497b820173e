// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import OrderedCollections
import Routing

/// One thing that a user of some checkpoints of a family should know: what it says of a checkpoint,
/// nil where it does not apply.
typealias Caveat = @Sendable (inout CaveatSubject) throws(RegateError) -> String?

/// A checkpoint's configuration, as caveats look at it.
struct CaveatSubject {
  let family: Family
  let rule: RoutingRule
  let moeLayers: Int
  let layerCount: Int
  var settings: Settings

  var title: String { family.title }

  /// The key as the file has it.
  func name(_ key: String) -> String { settings.scope + key }

  /// What was read for `key` so far; nil where it is absent and has no default.
  func read(_ key: String) -> Setting? { settings.read[name(key)] }
}
