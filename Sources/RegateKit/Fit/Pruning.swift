// SPDX-License-Identifier: Apache-2.0
//
// What must be so for experts to be left out.

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Routing

extension Model {
  /// Refuses to leave `count` experts out of each layer where the model cannot do without them.
  func requirePrunable(_ count: Int) throws(RegateError) {
    for layer in layout.layers {
      guard let problem = layer.rule.problem(pruning: count) else { continue }
      throw RegateError(
        .refused, file: checkpoint.path, subject: "`pruned`", problem.found, advice: problem.advice)
    }
    if let extra = layout.extraRouters.first {
      throw RegateError(
        .refused, file: checkpoint.path, subject: extra.gate.name,
        "belongs to a layer of multi-token prediction, whose experts the same key counts",
        advice: "give `mtp`, so that it is pruned like the others")
    }
    if let layer = layout.tableLayers.first {
      throw RegateError(
        .refused, file: checkpoint.path, subject: "layer \(layer)",
        "chooses experts by a table, which Regate leaves alone, and the same key counts its experts",
        advice: "do without `pruned`")
    }
    try requireMovableExperts(advice: "prune the model that it was made from")
    let config = checkpoint.config.map {
      String(decoding: $0.serialised(.compact), as: UTF8.self)
    }
    guard let name = config?.firstMatch(of: /[^"]*experts\.[0-9][^"]*/)?.output else { return }
    throw RegateError(
      .unsupported, file: checkpoint.path, subject: "config.json",
      "names the single expert \(name), and pruning gives experts other numbers",
      advice: "prune the model that it was made from, and quantise that")
  }
}

extension RouterForm {
  /// Refuses a form that replaces the router where experts are pruned, which keeps it.
  func requireOwnRouter() throws(RegateError) {
    guard self != .stock else { return }
    throw RegateError(
      .refused, subject: "`router` \(rawValue)",
      "replaces the router, but to prune experts leaves it as it is",
      advice: "use `router` stock, or leave `pruned` out")
  }
}
