// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
package import Routing

/// Configuration of the official LPR code (arXiv 2506.21328, snapshot of June 2025): model types of
/// its own, router keys beside the architecture's.
package enum OfficialForm {
  package static let latentSizeKey = "router_latent_dim"
  package static let metricsKey = "SimilarityMetrics"
  package static let vectorMetrics = "VectorSimilarity"
  package static let metricKey = "routing_metrics"

  /// The families that it has, by name: what it calls them, and what they are without it.
  private static let types: [(family: String, official: String, original: String)] = [
    ("mixtral", "mixtral_lpr", "mixtral"), ("qwen3_moe", "qwen3_moe_lpr", "qwen3_moe"),
  ]

  /// Its names of the similarities that work there.
  package static let metrics: [(name: String, similarity: PrototypeRouter.Similarity.Kind)] = [
    ("Cosine", .cosine), ("GaussianKernel", .gaussianKernel), ("Mahalanobis", .mahalanobis),
    ("CrossAttention", .crossAttention),
  ]

  /// `model_type` of a family there; nil where it has none.
  package static func modelType(of family: Family) -> String? {
    types.first { $0.family == family.name }?.official
  }

  /// The configuration as the original's, if `config` is that of an official checkpoint.
  static func original(of config: JSONValue) -> JSONValue? {
    guard let type = config["model_type"]?.stringValue,
      let entry = types.first(where: { $0.official == type })
    else { return nil }
    var original = config
    original["model_type"] = .string(entry.original)
    return original
  }

  /// The similarity of the official routers that `config` describes.
  static func similarity(
    of config: JSONValue, file: String
  ) throws(RegateError) -> PrototypeRouter.Similarity.Kind {
    let kind = config[metricsKey]?.stringValue
    let name = config[metricKey]?.stringValue
    guard kind == vectorMetrics, let found = metrics.first(where: { $0.name == name }) else {
      throw RegateError(
        .unsupported, file: file, subject: "\(metricsKey), \(metricKey)",
        "are \(kind ?? "missing") and \(name ?? "missing"), expected \(vectorMetrics) and one of "
          + metrics.map(\.name).joined(separator: ", "),
        advice: "the official code runs no other ones")
    }
    return found.similarity
  }
}
