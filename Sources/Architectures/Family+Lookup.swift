// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing

extension Family {
  /// Every family, convertible ones first.
  public static let all: [Family] = [
    .mixtral, .qwen3, .deepseekV2, .deepseekV3, .qwen2, .olmoe, .glm4, .gptOSS, .phi, .granite,
    .miniMaxM2, .ernie, .dots1,
  ]

  /// The family of a Hugging Face `model_type`.
  static func of(modelType: String) -> Family? {
    all.first { $0.huggingFace.modelTypes.contains(modelType) }
  }

  /// The family of a Hugging Face class name.
  static func of(className: String) -> Family? {
    all.first { $0.huggingFace.architectures.contains(className) }
  }

  /// Finds the family of a `config.json`, and the object that holds its keys: the text model's, in
  /// a multimodal wrapper.
  static func find(
    in config: JSONValue, file: String
  ) throws(RegateError) -> (family: Family, object: JSONValue, scope: String) {
    let objects: [(JSONValue, String)] =
      [(config, "")]
      + ["text_config", "language_config", "llm_config"].compactMap { key in
        config[key].flatMap { $0.objectValue == nil ? nil : ($0, key + ".") }
      }
    for (object, scope) in objects {
      if let type = object["model_type"]?.stringValue, let family = of(modelType: type) {
        return (family, object, scope)
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
        [$0.gguf.architecture]
      }
    }
    guard (checkpoint.metadata["\(name).expert_count"]?.integer ?? 0) > 0 else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: "\(name).expert_count",
        "is absent or 0: this is a dense model, it has no experts to balance")
    }
    guard matches.count > 1 else { return family }
    return isDeepSeekV3(checkpoint) ? .deepseekV3 : .deepseekV2
  }

  /// `deepseek2` files of V3 say sigmoid; where the key is absent, only V3 has a selection bias.
  private static func isDeepSeekV3(_ checkpoint: GGUFCheckpoint) -> Bool {
    let function = checkpoint.metadata["deepseek2.expert_gating_func"]?.integer ?? 0
    if function != 0 { return function == GatingFunction.sigmoid.rawValue }
    return GatingFunction.assumesSigmoid(checkpoint)
      || checkpoint.tensors.keys.contains { $0.contains(".exp_probs_b") }
  }

  private static func unknown(
    _ name: String, file: String, subject: String, _ names: (Family) -> [String]
  ) -> RegateError {
    let candidates = all.flatMap { family in names(family).map { (name: $0, family: family) } }
    // The first of equals wins: convertible families come first.
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

/// GGUF `{arch}.expert_gating_func`.
enum GatingFunction: Int {
  case none = 0
  case softmax, sigmoid, softmaxOfSelected, sqrtSoftplus

  var scoring: RoutingRule.Scoring? {
    switch self {
    case .none: nil
    case .softmax: .softmax
    case .sigmoid: .sigmoid
    case .softmaxOfSelected: .softmaxOfSelected
    case .sqrtSoftplus: .sqrtSoftplus
    }
  }

  /// llama.cpp's one exception for `deepseek2` files without the key: GLM-4.7-Flash, known by its
  /// layer count and vocabulary.
  static func assumesSigmoid(_ checkpoint: GGUFCheckpoint) -> Bool {
    let metadata = checkpoint.metadata
    guard checkpoint.architecture == "deepseek2",
      let blocks = metadata["deepseek2.block_count"]?.integer
    else { return false }
    let nextn = metadata["deepseek2.nextn_predict_layers"]?.integer ?? 0
    let (layers, overflow) = blocks.subtractingReportingOverflow(nextn)
    guard !overflow, layers == 47 || layers == 48 else { return false }
    let vocabulary =
      metadata["deepseek2.vocab_size"]?.integer
      ?? metadata["tokenizer.ggml.tokens"]?.array?.count
    return vocabulary == 154_880
  }
}
