// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Routing

extension ExpertCounts {
  /// Counts as text; an expert that is not named was never chosen, a layer must be.
  init(table path: String, layout: ModelLayout) throws(RegateError) {
    let places = Dictionary(
      uniqueKeysWithValues: layout.layers.enumerated().map { ($1.index, $0) })
    var load = layout.layers.map { [Int](repeating: -1, count: $0.rule.experts) }
    let table = try ExpertTable(path: path)
    for entry in table.entries {
      guard let place = places[entry.layer] else {
        throw Self.foreign(
          path, entry.place, "counts layer \(entry.layer), which has no experts in the checkpoint")
      }
      guard load[place].indices.contains(entry.expert) else {
        throw Self.foreign(
          path, entry.place,
          "counts expert \(entry.expert) of layer \(entry.layer), which has \(load[place].count)")
      }
      guard load[place][entry.expert] < 0 else {
        throw RegateError(
          .mismatch, file: path, subject: entry.place,
          "counts expert \(entry.expert) of layer \(entry.layer) once more",
          advice: "add the counts up first")
      }
      load[place][entry.expert] = 0
      try load[place].add(entry.count, at: entry.expert, path, entry.place)
    }
    if let place = load.indices.first(where: { load[$0].allSatisfy { $0 < 0 } }) {
      throw RegateError(
        .missing, file: path, subject: "layer \(layout.layers[place].index)",
        "has no counts, and the checkpoint has experts there", advice: "count on this very model")
    }
    load = load.map { $0.map { max($0, 0) } }
    self.init(
      path: path, source: "a table", load: load, tokens: Self.tokens(load, layout),
      routers: table.routers)
  }
}
