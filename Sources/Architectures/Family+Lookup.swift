// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections

extension Family {
  /// The family of a Hugging Face `model_type`.
  static func of(modelType: String) -> Family? {
    all.first { $0.huggingFace.modelTypes.contains(modelType) }
  }

  /// The family of a Hugging Face class name.
  static func of(className: String) -> Family? {
    all.first { $0.huggingFace.architectures.contains(className) }
  }

  /// Where multimodal wrappers have the text model's keys.
  private static let textModels = [
    ["text_config"], ["language_config"], ["llm_config"], ["thinker_config", "text_config"],
  ]

  /// Finds the family of a `config.json`, and the object that holds its keys: the text model's, in
  /// a multimodal wrapper.
  static func find(
    in config: JSONValue, file: String
  ) throws(RegateError) -> (family: Family, object: JSONValue, scope: String) {
    let objects: [(JSONValue, String)] =
      [(config, "")]
      + textModels.compactMap { keys in
        let object = keys.reduce(config) { $0?[$1] }
        return object.flatMap {
          $0.objectValue == nil ? nil : ($0, keys.joined(separator: ".") + ".")
        }
      }
    // The text model's type before the wrapper's: its keys are what is read.
    for (object, scope) in objects.reversed() {
      guard let type = object["model_type"]?.stringValue else { continue }
      if let reason = refused[type] {
        throw RegateError(
          .unsupported, file: file, subject: scope + "model_type", "is \"\(type)\": \(reason)")
      }
      if let family = of(modelType: type) {
        let classes = objects.flatMap { $0.0["architectures"]?.arrayValue ?? [] }
          .compactMap { $0.stringValue.flatMap(of(className:)) }
        let other = classes.first { $0.huggingFace.borrowedTypes.contains(type) }
        return (other ?? family, object, scope)
      }
    }
    // Custom model types (fine-tunes, vendors) often keep a known class.
    for (object, scope) in objects.reversed() {
      for name in object["architectures"]?.arrayValue ?? [] {
        if let family = name.stringValue.flatMap(of(className:)) { return (family, object, scope) }
      }
    }
    let names = objects.compactMap { $0.0["model_type"]?.stringValue }
    guard let name = names.last else {
      throw RegateError(.missing, file: file, subject: "model_type", "the key is absent")
    }
    throw unknown(name, file: file, subject: (objects.last?.1 ?? "") + "model_type") {
      $0.huggingFace.modelTypes
    }
  }

  /// Finds the family of a GGUF file.
  static func find(in checkpoint: GGUFCheckpoint) throws(RegateError) -> Family {
    let name = checkpoint.architecture
    let matches = all.filter { $0.gguf.architecture == name }
    guard let family = matches.first else {
      throw unknown(name, file: checkpoint.path, subject: "general.architecture") {
        $0.gguf.architecture.map { [$0] } ?? []
      }
    }
    guard (checkpoint.metadata["\(name).expert_count"]?.integer ?? 0) > 0 else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: "\(name).expert_count",
        "is absent or 0: this is a dense model, it has no experts to balance")
    }
    return matches.first { $0.gguf.recognises?(checkpoint) == true }
      ?? matches.first { $0.gguf.recognises == nil } ?? family
  }

  private static func unknown(
    _ name: String, file: String, subject: String, _ names: (Family) -> [String]
  ) -> RegateError {
    let candidates = all.flatMap { family in names(family).map { (name: $0, family: family) } }
    // The first of equals wins: those with a prototype form come first.
    let nearest = candidates.min { distance($0.name, name) < distance($1.name, name) }
    return RegateError(
      .unsupported, file: file, subject: subject,
      "\"\(name)\" is not a Mixture-of-Experts family that Regate knows",
      advice: nearest.map {
        "the nearest supported family is \($0.family.title) (\"\($0.name)\"); known are "
          + all.map(\.title).joined(separator: ", ")
      })
  }

  /// Levenshtein distance, ignoring case and the choice of separator.
  private static func distance(_ a: String, _ b: String) -> Int {
    let a = fold(a)
    let b = fold(b)
    var row = Array(0...b.count)
    for i in a.indices {
      var diagonal = row[0]
      row[0] = i + 1
      for j in b.indices {
        let substituted = diagonal + (a[i] == b[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
      }
    }
    return row[b.count]
  }

  /// Names come from files: a long one is cut, so that the distance stays cheap.
  private static func fold(_ name: String) -> [UInt8] {
    name.lowercased().utf8.prefix(64).filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: "_") }
  }
}
