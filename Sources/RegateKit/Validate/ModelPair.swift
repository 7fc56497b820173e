// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Measures
import OrderedCollections
import Routing
import Tensors

/// An original checkpoint and one that was made from it, checked to belong together.
struct ModelPair: Sendable {
  let original: Model
  let patched: Model
  /// The MoE layers of both, side by side.
  let layers: [(MoELayer, MoELayer)]

  /// Which logical expert each physical one holds, in the original's numbering.
  struct ExpertMaps: Sendable {
    let original: [Int]
    let patched: [Int]
  }

  init(
    original: String, patched: String, mtp: Bool = false, precision: Precision
  ) throws(RegateError) {
    self.original = try Model.open(original, mtp: mtp, precision: precision)
    self.patched = try Model.open(patched, mtp: mtp, precision: precision)
    let (a, b) = (self.original.layout, self.patched.layout)
    guard a.family.name == b.family.name, a.container == b.container else {
      throw RegateError(
        .mismatch, file: patched,
        "is \(b.family.title) in \(b.container.rawValue), but the original is "
          + "\(a.family.title) in \(a.container.rawValue)",
        advice: "give the checkpoint that the patched one was made from")
    }
    guard a.layers.map(\.index) == b.layers.map(\.index), a.hiddenSize == b.hiddenSize,
      zip(a.layers, b.layers).allSatisfy({
        $0.rule.experts >= $1.rule.experts && $0.rule.topK == $1.rule.topK
      })
    else {
      throw RegateError(
        .mismatch, file: patched,
        "has other layers, more experts or another top-k than the original",
        advice: "give the checkpoint that the patched one was made from")
    }
    layers = Array(zip(a.layers, b.layers))
  }

  /// What should be known of the original, and of the patched checkpoint alone.
  var warnings: [String] {
    original.warnings
      + patched.warnings.filter { !original.warnings.contains($0) }
      .map { "\(patched.checkpoint.path): \($0)" }
  }

  /// The logical experts of every layer, told by their bytes.
  func expertMaps(
    threads: Int, progress: any ProgressSink
  ) throws(RegateError) -> [ExpertMaps] {
    let bytes = layers.reduce(0) { sum, pair in
      sum
        + [pair.0, pair.1].reduce(0) { sum, layer in
          sum
            + layer.experts.reduce(0) { sum, part in
              sum
                + (0..<layer.rule.experts).reduce(0) {
                  $0 + part.slice(expert: $1).bytes.count
                }
            }
        }
    }
    progress.begin("Recognising experts", total: bytes)
    defer { progress.end() }
    var maps: [ExpertMaps] = []
    for (a, b) in layers {
      let before = try ExpertIdentity.digests(
        of: a, in: original.checkpoint, threads: threads, progress: progress)
      let after = try ExpertIdentity.digests(
        of: b, in: patched.checkpoint, threads: threads, progress: progress)
      maps.append(
        ExpertMaps(
          original: ExpertIdentity.logicalExperts(of: before),
          patched: try ExpertIdentity.logicalExperts(
            of: after, original: before, layer: a.index, path: patched.checkpoint.path)))
    }
    return maps
  }
}
