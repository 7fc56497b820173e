// SPDX-License-Identifier: Apache-2.0

/// The sizes of a layer's softmax attention.
struct AttentionShape: Sendable {
  /// Query heads.
  let heads: Int
  /// Key and value heads, which divide the query heads.
  let keyHeads: Int
  /// Width of a query or key head, the rotated part included.
  let keySize: Int
  /// Width of a value head.
  let valueSize: Int
  /// Multiplies the scores before the softmax.
  let scale: Float
  /// Positions that a token sees, its own included; nil: all before it.
  let window: Int?

  /// Width of all query heads, of all key heads and of the context.
  var queries: Int { heads * keySize }
  var keys: Int { keyHeads * keySize }
  var context: Int { heads * valueSize }
}
