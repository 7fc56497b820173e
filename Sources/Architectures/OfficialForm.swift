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

  /// Its names of the similarities that work there.
  package static let metrics: [(name: String, similarity: SimilarityKind)] = [
    ("Cosine", .cosine), ("GaussianKernel", .gaussianKernel), ("Mahalanobis", .mahalanobis),
    ("CrossAttention", .crossAttention),
  ]

  /// The configuration as the original's, if `config` is that of an official checkpoint.
  static func original(of config: JSONValue) -> JSONValue? {
    guard let type = config["model_type"]?.stringValue,
      let family = Family.all.first(where: { $0.official?.modelType == type })
    else { return nil }
    var original = config
    original["model_type"] = family.huggingFace.modelTypes.first.map { .string($0) }
    return original
  }

  /// The similarity of the official routers that `config` describes.
  static func similarity(
    of config: JSONValue, file: String
  ) throws(RegateError) -> SimilarityKind {
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
