// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections

extension ModelFitter {
  /// The layers of each of `count` fits that an earlier run did, and where `stage` has a pass, the
  /// pass brought to the next one.
  func restored(_ stage: ResumeStage, count: Int) throws(RegateError) -> [[ModelFit.Layer]] {
    var fits = [[ModelFit.Layer]](repeating: [], count: count)
    for (layer, records) in zip(model.layout.layers, try stage.restore()) {
      guard records.count == count else {
        throw ResumeState.damaged(records.first?.path ?? model.checkpoint.path)
      }
      for (index, record) in records.enumerated() {
        fits[index].append(try ModelFit.Layer(record, layer, model))
      }
    }
    return fits
  }

  /// The records of the layer that was fitted last.
  func records(_ fits: [[ModelFit.Layer]]) throws(RegateError) -> [ResumeRecord] {
    guard resume != nil else { return [] }
    var records: [ResumeRecord] = []
    for layer in fits.compactMap(\.last) { records.append(try layer.record()) }
    return records
  }

  /// The figures that a finished stage left.
  func qualities(_ summary: JSONValue) throws(RegateError) -> [ModelFit.Quality] {
    try ResumeRecord.value(summary.stringValue, path: model.checkpoint.path)
  }
}
