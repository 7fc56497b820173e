// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Measures
import Routing

/// The load that files of counts say, all together.
package struct CountsLoad: LoadSource, Sendable {
  private let files: [ExpertCounts]
  private let layout: ModelLayout

  package init(_ paths: [String], layout: ModelLayout) throws(RegateError) {
    var files: [ExpertCounts] = []
    for path in paths { files.append(try ExpertCounts(path: path, layout: layout)) }
    guard !files.isEmpty else {
      throw RegateError(.missing, subject: "`counts`", "nothing was given")
    }
    self.files = files
    self.layout = layout
  }

  package func load(ranks: [Int]) throws(RegateError) -> ExpertLoad {
    var layers: [LoadSummary] = []
    for (number, layer) in layout.layers.enumerated() {
      var total = [Int](repeating: 0, count: layer.rule.experts)
      for file in files {
        for (expert, count) in file.load[number].enumerated() {
          try total.add(count, at: expert, file.path, "layer \(layer.index)")
        }
      }
      let routed = files.compactMap { $0.routed?[number] }
      layers.append(
        routed.count == files.count
          ? LoadSummary(Assignment(joining: routed), experts: total.count, ranks: ranks)
          : LoadSummary(load: total, ranks: ranks))
    }
    var sources: [String] = []
    for file in files where !sources.contains(file.source) { sources.append(file.source) }
    return ExpertLoad(
      layers: layers, source: sources.joined(separator: ", "),
      tokens: files.reduce(0) { $0 + $1.tokens }, heldOut: nil,
      parts: files.count > 1
        ? files.map { .init(name: $0.path.lastPathComponent, load: $0.load, tokens: $0.tokens) }
        : [])
  }
}

extension Assignment {
  /// The tokens of several, one after the other.
  fileprivate init(joining parts: [Assignment]) {
    self.init(
      tokens: parts.reduce(0) { $0 + $1.tokens }, topK: parts.first?.topK ?? 1,
      experts: parts.flatMap(\.experts), weights: parts.flatMap(\.weights))
  }
}
