// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Checkpoints
package import Routing

/// How many assignments each expert of a model got, from a file that says so.
package struct ExpertCounts: Sendable {
  /// The file.
  package let path: String
  /// What it is, in words.
  package let source: String
  /// Assignments [layers][E], the MoE layers in their order.
  package let load: [[Int]]
  /// Tokens that were counted.
  package let tokens: Int
  /// The experts of each token in every layer, in the order of the tokens; nil where the file has
  /// totals only.
  package let routed: [Assignment]?
  /// The fingerprint of the routers that chose; nil where the file does not say.
  package let routers: String?

  init(
    path: String, source: String, load: [[Int]], tokens: Int, routed: [Assignment]? = nil,
    routers: String? = nil
  ) {
    self.path = path
    self.source = source
    self.load = load
    self.tokens = tokens
    self.routed = routed
    self.routers = routers
  }

  /// Reads the file at `path`, told by its contents and for arrays by its name, and checks it
  /// against the model.
  package init(path: String, layout: ModelLayout) throws(RegateError) {
    guard !layout.layers.isEmpty else {
      throw RegateError(.mismatch, file: path, "the checkpoint has no MoE layer")
    }
    if ArrayContainer.isNamed(path) {
      try self.init(routedExperts: try ArrayContainer.open(path), layout: layout)
    } else if let archive = try TorchArchive(path: path) {
      try self.init(recorded: archive, path: path, layout: layout)
    } else if try ExpertTable.isOne(path) {
      try self.init(table: path, layout: layout)
    } else {
      try self.init(imatrix: path, layout: layout)
    }
    for (layer, load) in zip(layout.layers, load) where load.allSatisfy({ $0 == 0 }) {
      throw RegateError(
        .missing, file: path, subject: "layer \(layer.index)", "no token is counted there",
        advice: "count on this very model, and on some text")
    }
  }

  /// That the file at `path` is of another model.
  static func foreign(_ path: String, _ subject: String?, _ problem: String) -> RegateError {
    RegateError(
      .mismatch, file: path, subject: subject, problem, advice: "count on this very model")
  }

  /// The layers of a file that has all of the model's, or the MoE layers only: which one each MoE
  /// layer is.
  static func places(
    of count: Int, in layout: ModelLayout, _ path: String, _ subject: String
  ) throws(RegateError) -> [Int] {
    if count == layout.layerCount { return layout.layers.map(\.index) }
    guard count == layout.layers.count else {
      throw foreign(
        path, subject,
        "has \(count) layers, but the checkpoint has \(layout.layerCount), "
          + "\(layout.layers.count) of them with experts")
    }
    return Array(layout.layers.indices)
  }
}
