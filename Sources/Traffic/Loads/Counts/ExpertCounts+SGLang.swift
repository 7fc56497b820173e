// SPDX-License-Identifier: Apache-2.0
//
// What SGLang's recorder of expert distributions dumps in the modes `stat` and `stat_approx`
// (srt/eplb/expert_distribution.py, `_StatAccumulator.dump`): a dictionary that torch.save wrote,
//
//   logical_count [steps, L, E] or [L, E]   assignments, of all of the model's layers

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing

extension ExpertCounts {
  private static let recorded = "logical_count"

  init(recorded archive: TorchArchive, path: String, layout: ModelLayout) throws(RegateError) {
    guard let array = archive.tensors[Self.recorded] else {
      throw RegateError(
        .missing, file: path, subject: Self.recorded,
        "no such tensor; it holds \(archive.keys.prefix(4).joined(separator: ", "))",
        advice: "record with --expert-distribution-recorder-mode stat")
    }
    guard array.shape.count == 2 || array.shape.count == 3 else {
      throw RegateError(
        .mismatch, file: path, subject: Self.recorded,
        "has shape \(array.shape), expected [steps, layers, experts]")
    }
    let (layers, experts) = (array.shape[array.shape.count - 2], array.rowLengthOfLast)
    let places = try Self.places(of: layers, in: layout, path, Self.recorded)
    let values = try array.integers()
    var load: [[Int]] = []
    for (place, layer) in zip(places, layout.layers) {
      guard experts == layer.rule.experts else {
        throw Self.foreign(
          path, Self.recorded,
          "has \(experts) experts, but the checkpoint has \(layer.rule.experts)")
      }
      var counts = [Int](repeating: 0, count: experts)
      for start in stride(from: place * experts, to: values.count, by: layers * experts) {
        for expert in 0..<experts {
          try counts.add(values[start + expert], at: expert, path, Self.recorded)
        }
      }
      load.append(counts)
    }
    self.init(
      path: path, source: "SGLang's recorder", load: load, tokens: Self.tokens(load, layout))
  }

  /// The tokens that the busiest layer's assignments are of: a layer may have been counted in part.
  static func tokens(_ load: [[Int]], _ layout: ModelLayout) -> Int {
    zip(load, layout.layers).map { ($0.reduce(0, +) + $1.rule.topK - 1) / $1.rule.topK }.max() ?? 0
  }
}

extension NumericArray {
  fileprivate var rowLengthOfLast: Int { shape.last ?? 1 }
}

extension [Int] {
  /// Adds `count`, which must be a count, at `place`.
  mutating func add(
    _ count: Int, at place: Int, _ path: String, _ subject: String
  ) throws(RegateError) {
    let (sum, overflow) = self[place].addingReportingOverflow(count)
    guard count >= 0, !overflow, sum <= 1 << 53 else {
      throw RegateError(
        .mismatch, file: path, subject: subject, "holds \(count), which is no count of tokens")
    }
    self[place] = sum
  }
}
