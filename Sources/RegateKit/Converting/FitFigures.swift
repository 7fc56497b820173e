// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Fitting
import Foundation
import Inference
import OrderedCollections
import Routing

/// What is known of a layer's fit beside the routers themselves.
struct FitFigures: Sendable, Hashable, Codable {
  let original: LayerFit.Evidence
  let prototype: LayerFit.Evidence
  /// nil where the stock form was not fitted.
  let stock: LayerFit.Evidence?
  /// nil where the official form was not fitted.
  let official: LayerFit.Evidence?
  /// Agreement of the official with the prototype router.
  let officialFidelity: RoutingAgreement?
  let clones: Int
  let latentSize: Int
  let explainedVariance: Double
  let feasibleGini: Double
  /// Relative error of the routed experts' output, on held-out tokens where some are held out;
  /// nil where it is not known.
  let outputError: Double?
  /// The tokens that were held out, all calibration sets together and then each set; empty where
  /// none were.
  let sets: [SetLoad]

  init(_ fit: LayerFit, outputError: Double?, sets: [SetLoad]) {
    original = fit.original
    prototype = fit.evidence
    stock = fit.stock?.evidence
    official = fit.official?.evidence
    officialFidelity = fit.official?.fidelity
    clones = fit.clones
    latentSize = fit.latentSize
    explainedVariance = fit.explainedVariance
    feasibleGini = fit.feasibleGini
    self.outputError = outputError
    self.sets = sets
  }

  /// The figures of one form's router.
  func evidence(of form: RouterForm) -> LayerFit.Evidence? {
    switch form {
    case .lpr: prototype
    case .stock: stock
    case .lprOfficial: official
    }
  }
}

extension ModelFit {
  /// Next-token figures of the whole model on the calibration tokens: mean negative log-likelihoods
  /// and mean KL divergence, in nats.
  struct Quality: Sendable, Hashable, Codable {
    let original: Double
    let patched: Double
    let divergence: Double
    let topAgreement: Double
    /// On the held-out tokens of all calibration sets and then of each set; empty where none are.
    let heldOut: [SetMeasure.Likelihood]

    init(
      original: StreamScores, patched: StreamScores, heldOut: [SetMeasure.Likelihood]
    ) {
      self.original = original.meanNLL
      self.patched = patched.meanNLL
      divergence = patched.meanDivergence
      topAgreement = patched.topAgreement
      self.heldOut = heldOut
    }

    var json: JSONValue {
      [
        "nll": ["original": .number(original), "patched": .number(patched)],
        "perplexity": [
          "original": .optional(exp(original)), "patched": .optional(exp(patched)),
        ],
        "kl": .number(divergence), "top1_agreement": .number(topAgreement),
      ]
    }
  }
}

// MARK: In resume records

extension ResumeRecord {
  private static let figures = "figures"

  /// `value` as JSON text in which every Double reads back as itself.
  static func text(_ value: some Encodable) throws(RegateError) -> String {
    let encoder = JSONEncoder()
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    do { return String(decoding: try encoder.encode(value), as: UTF8.self) } catch {
      throw RegateError(.unsupported, subject: figures, "cannot be kept: \(error)")
    }
  }

  /// What `text` was made of, kept in the file at `path`.
  static func value<T: Decodable>(
    _ text: String?, as type: T.Type = T.self, path: String
  ) throws(RegateError) -> T {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    guard let text, let value = try? decoder.decode(type, from: Data(text.utf8)) else {
      throw ResumeState.damaged(path)
    }
    return value
  }

  /// A record of tensors and figures.
  init(_ figures: some Encodable, tensors: [SafetensorsWriter.Tensor] = []) throws(RegateError) {
    self.init(tensors: tensors, metadata: [Self.figures: try Self.text(figures)])
  }

  /// The figures of a record.
  static func figures<T: Decodable>(
    of container: ArrayContainer, as type: T.Type = T.self
  ) throws(RegateError) -> T {
    try value(container.metadata[figures], path: container.path)
  }
}

extension ModelFit.Layer {
  /// The layer as a record of a run that can be resumed.
  func record() throws(RegateError) -> ResumeRecord {
    var record = try ResumeRecord(fit, tensors: try FitFile.encoded(fitted))
    record.metadata.merge(FitFile.metadata([fitted])) { $1 }
    return record
  }

  /// Reads the record of a layer.
  init(_ container: ArrayContainer, _ layer: MoELayer, _ model: Model) throws(RegateError) {
    fitted = try FitFile.layer(layer, in: container, for: model)
    fit = try ResumeRecord.figures(of: container)
  }
}
