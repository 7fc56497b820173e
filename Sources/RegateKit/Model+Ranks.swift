// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Routing

extension Model {
  /// Refuses expert-parallel rank counts that this model's experts cannot be on. Those that do not
  /// divide them can: the first ranks hold one more, as in vLLM.
  func requireRanks(_ ranks: [Int]) throws(RegateError) {
    let experts = layout.layers.map(\.rule.experts).min() ?? 0
    guard let count = ranks.first(where: { !(1...max(experts, 1)).contains($0) }) else { return }
    throw RegateError(
      .refused, subject: "`ranks`",
      "\(count) ranks cannot share the \(experts) experts of \(checkpoint.path)",
      advice: "give numbers from 1 to \(experts)")
  }
}
