// SPDX-License-Identifier: Apache-2.0

import Measures
import Routing

/// What a resumed validation keeps of a layer; the rest follows from it.
struct SavedLayer: Codable {
  struct Load: Codable {
    let load: [Int]
    let batches: [Int]
    let batchValues: [Double?]

    init(_ summary: LoadSummary) {
      load = summary.load
      batches = summary.batchImbalance.map(\.tokens)
      batchValues = summary.batchImbalance.map(\.value)
    }

    func summary(_ ranks: [Int]) -> LoadSummary {
      LoadSummary(
        load: load, ranks: ranks,
        batches: zip(batches, batchValues).map { (tokens: $0, value: $1) })
    }
  }

  let original: Load
  let patched: Load
  let agreement: RoutingAgreement
  let outputError: Double?
  let logicalExperts: Int
  let sets: [SetLoad]
  let rankBatches: [Validation.RankFigures]

  init(_ layer: Validation.Layer) {
    original = Load(layer.original)
    patched = Load(layer.patched)
    agreement = layer.agreement
    outputError = layer.outputError
    logicalExperts = layer.logicalExperts
    sets = layer.sets
    rankBatches = layer.rankBatches
  }
}

extension Validation.Layer {
  init(_ saved: SavedLayer, index: Int, ranks: [Int]) {
    self.init(
      index: index, original: saved.original.summary(ranks),
      patched: saved.patched.summary(ranks), agreement: saved.agreement,
      outputError: saved.outputError, logicalExperts: saved.logicalExperts, sets: saved.sets,
      rankBatches: saved.rankBatches)
  }
}
