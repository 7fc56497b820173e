// SPDX-License-Identifier: Apache-2.0
//
// One pass serves both models: attention, norms, embeddings and head are the original's, and only
// routers and experts are each model's own. So all else must be the same in the patched checkpoint.

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Foundation
import OrderedCollections

extension ModelPair {
  /// Refuses a patched checkpoint with other weights beside routers and experts, and says which
  /// keys of its configuration differ.
  func requireSameRest(progress: any ProgressSink) throws(RegateError) {
    let own = Set([original.layout, patched.layout].flatMap(\.ownTensors))
    let stems = [original.layout, patched.layout].flatMap { $0.routerStems + $0.extraStems }
    let shared = original.checkpoint.tensors.values.filter { tensor in
      !own.contains(tensor.name) && !stems.contains(where: tensor.name.hasPrefix)
    }
    progress.begin("Comparing all other weights", total: shared.reduce(0) { $0 + $1.range.count })
    defer { progress.end() }
    for tensor in shared { try requireSame(tensor, progress) }
    for difference in configurationDifferences + metadataDifferences { progress.warn(difference) }
  }

  private static let chunk = 1 << 22

  private func requireSame(
    _ tensor: TensorInfo, _ progress: any ProgressSink
  ) throws(RegateError) {
    guard let other = patched.checkpoint.tensors[tensor.name] else {
      throw differs(tensor.name, "is not there")
    }
    guard other.type == tensor.type, other.shape == tensor.shape else {
      throw differs(
        tensor.name,
        "is \(other.type.rawValue) \(other.shape), but the original's is "
          + "\(tensor.type.rawValue) \(tensor.shape)")
    }
    for start in stride(from: 0, to: tensor.range.count, by: Self.chunk) {
      try progress.requireWanted()
      let part = start..<min(start + Self.chunk, tensor.range.count)
      let old = try original.checkpoint.withBytes(of: tensor, part: part) { [UInt8](copying: $0) }
      let isSame = try patched.checkpoint.withBytes(of: other, part: part) {
        [UInt8](copying: $0) == old
      }
      guard isSame else { throw differs(tensor.name, "has other values than the original's") }
      progress.advance(part.count)
    }
  }

  private func differs(_ tensor: String, _ problem: String) -> RegateError {
    RegateError(
      .mismatch, file: patched.checkpoint.path, subject: tensor,
      "\(problem): only routers and experts may differ, and all else is run as the original has it",
      advice: "give the checkpoint that the patched one was made from, or compare two trainings by "
        + "`LoadDrift`")
  }

  /// One sentence for each key of `config.json` that a patched model must share and does not.
  private var configurationDifferences: [String] {
    guard let old = original.checkpoint.config, let new = patched.checkpoint.config else {
      return []
    }
    let counts = zip(original.layout.layers, patched.layout.layers).map {
      ($0.rule.experts, $1.rule.experts)
    }
    return Self.differences(old, new, under: "").compactMap { key, old, new in
      // Pruned experts are said in the report.
      let numbers = (old.intValue ?? -1, new?.intValue ?? -1)
      guard !counts.contains(where: { $0 == numbers }) else { return nil }
      return
        "\(patched.checkpoint.path)/config.json: \(key) is \(new.map(Self.text) ?? "not there")"
        + ", but the original has \(Self.text(old)), which the figures are for"
    }
  }

  /// One sentence for each key of GGUF metadata on the model or its tokenizer that differs. What
  /// describes the file, and what only the patched one has, is left out.
  private var metadataDifferences: [String] {
    guard case .gguf(let old) = original.checkpoint.format,
      case .gguf(let new) = patched.checkpoint.format
    else { return [] }
    let count = "\(old.architecture).\(ModelLayout.expertCountKey)"
    return old.metadata.elements.compactMap { key, value in
      let isOfModel = ["\(old.architecture).", "tokenizer."].contains(where: key.hasPrefix)
      guard isOfModel, key != count, new.metadata[key] != value else { return nil }
      return "\(patched.checkpoint.path): \(key) is not what the original has, which the figures "
        + "are for"
    }
  }

  private static func text(_ value: JSONValue) -> String {
    String(decoding: value.serialised(.compact), as: UTF8.self)
  }

  /// Keys that say which code reads the file and how, and the form of its routers.
  private static let formKeys = [
    "architectures", "auto_map", "dtype", "model_type", "torch_dtype", "transformers_version",
    "use_cache",
  ]

  private static func differences(
    _ old: JSONValue, _ new: JSONValue, under stem: String
  ) -> [(key: String, old: JSONValue, new: JSONValue?)] {
    (old.objectValue ?? [:]).elements.flatMap { key, value in
      guard !formKeys.contains(key), new[key] != value,
        new[key]?.stringValue != PrototypeForm.activationGuard
      else {
        return [(key: String, old: JSONValue, new: JSONValue?)]()
      }
      if value.objectValue != nil, let other = new[key], other.objectValue != nil {
        return differences(value, other, under: stem + key + ".")
      }
      return [(key: stem + key, old: value, new: new[key])]
    }
  }
}

extension ModelLayout {
  /// Names of all tensors that belong to routers and experts.
  fileprivate var ownTensors: [String] {
    layers.flatMap { layer in
      (layer.routerTensors + (layer.experts + layer.common).flatMap(\.tensors) + layer.unplaced)
        .map(\.name)
    }
  }

  /// What the names of a router's tensors begin with, those of a prototype router too.
  fileprivate var routerStems: [String] {
    layers.compactMap { layer in
      layer.gate.name.lastIndex(of: ".").map { String(layer.gate.name[...$0]) }
    }
  }

  /// What the names of layers of multi-token prediction begin with that are not among `layers`.
  fileprivate var extraStems: [String] {
    extraRouters.compactMap { router in
      router.gate.name.firstMatch(of: /^.*?(layers|blk)\.[0-9]+\./).map { String($0.output.0) }
    }
  }
}
