// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import OrderedCollections
import Routing

/// The mark that Regate's prototype router leaves in `config.json`.
package enum PrototypeForm {
  /// The object that describes the prototype routers.
  package static let key = "regate"
  /// Before the original's `model_type`.
  package static let modelTypePrefix = "regate_"
  /// The version of tensors, keys and equations that this code writes and reads. No release was
  /// made of 1 to 3, which had other names or no token-dependent bias.
  package static let version = 4

  /// The activation that the prototype form of some families names (`FormTraits`), so that every
  /// stock class stops there and says so; the real one is in the `regate` object under the same
  /// key.
  package static let activationGuard = "regate: load with trust_remote_code=True"
  package static let activationKey = "hidden_act"

  /// The configuration that the original had, if `config` is that of a prototype checkpoint.
  package static func original(
    of config: JSONValue, file: String
  ) throws(RegateError) -> JSONValue? {
    guard let mark = config[key],
      config["model_type"]?.stringValue?.hasPrefix(modelTypePrefix) == true
    else { return nil }
    guard mark["version"]?.intValue == version else {
      throw RegateError(
        .unsupported, file: file, subject: "\(key).version",
        "is \(mark["version"]?.intValue.map(String.init) ?? "missing"), expected \(version)",
        advice: "use the version of Regate that wrote the checkpoint")
    }
    guard let type = mark["base_model_type"]?.stringValue else {
      throw RegateError(
        .missing, file: file, subject: "\(key).base_model_type", "the key is absent",
        advice: "the configuration was changed: convert the original again")
    }
    var original = config
    original["model_type"] = .string(type)
    if let activation = mark[activationKey] { original[activationKey] = activation }
    return original
  }

  /// Encoder and similarity of the prototype routers that `config` describes.
  static func form(
    of config: JSONValue, file: String
  ) throws(RegateError) -> LatentForm {
    let mark = config[key]
    let encoder = mark?["encoder"]?.stringValue
    let similarity = mark?["similarity"]?.stringValue
    guard let encoderKind = encoder.flatMap(EncoderKind.init),
      let similarityKind = similarity.flatMap(SimilarityKind.init)
    else {
      throw RegateError(
        .unsupported, file: file, subject: "\(key).encoder, \(key).similarity",
        "are \(encoder ?? "missing") and \(similarity ?? "missing"), expected one of "
          + names(EncoderKind.self) + " and one of "
          + names(SimilarityKind.self),
        advice: "use the version of Regate that wrote the checkpoint")
    }
    return LatentForm(encoder: encoderKind, similarity: similarityKind)
  }

  private static func names<Kind: CaseIterable & RawRepresentable<String>>(
    _: Kind.Type
  ) -> String {
    Kind.allCases.map(\.rawValue).joined(separator: ", ")
  }
}
