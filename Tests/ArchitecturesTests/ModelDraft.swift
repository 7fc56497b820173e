// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport

/// A small checkpoint in the making: E 4, H 8, I 6, unless a test says otherwise. Every tensor's
/// values follow from its name, so that no two are alike.
struct ModelDraft {
  struct Draft {
    var type: ElementType
    var shape: [Int]
    var values: [Float]?
  }

  static let experts = 4
  static let hidden = 8
  static let width = 6

  /// null: no config.json.
  var config: JSONValue = [:]
  var metadata: OrderedDictionary<String, GGUFValue> = [:]
  var tensors: OrderedDictionary<String, Draft> = [:]

  mutating func add(
    _ name: String, _ shape: [Int], _ type: ElementType = .f32, values: [Float]? = nil
  ) {
    tensors[name] = Draft(type: type, shape: shape, values: values)
  }

  mutating func rename(_ old: String, to new: String) {
    tensors = OrderedDictionary(
      uniqueKeysWithValues: tensors.map { ($0.key.replacing(old, with: new), $0.value) })
  }

  /// Values of an F32 tensor that the test did not give: multiples of 1/16 below 8.
  static func value(_ name: String, _ index: Int) -> Float {
    // FNV-1a.
    let hash = name.utf8.reduce(UInt64(14_695_981_039_346_656_037)) {
      ($0 ^ UInt64($1)) &* 1_099_511_628_211
    }
    var generator = SeededGenerator(seed: hash &+ UInt64(index))
    return Float(generator.next() % 256) / 16 - 8
  }

  func bytes(_ name: String) throws -> [UInt8] {
    guard let draft = tensors[name] else { return [] }
    let count = draft.shape.reduce(1, *)
    if draft.type == .f32 || draft.type == .bf16 {
      let values = draft.values ?? (0..<count).map { ModelDraft.value(name, $0) }
      return try TensorEncoder.encode(values, type: draft.type)
    }
    let size = draft.type.byteCount(of: count) ?? 0
    // Below 0x70: never an FP8 NaN.
    return (0..<size).map { UInt8(Int(ModelDraft.value(name, $0) * 16 + 128) % 0x70) }
  }

  /// Writes config and tensors; `shard` gives a tensor's file number.
  func safetensors(
    in directory: TemporaryDirectory, shard: ((String) -> Int)? = nil
  ) throws -> SafetensorsCheckpoint {
    if !config.isNull { try directory.write(config.serialised(.pretty), to: "config.json") }
    guard let shard else {
      try write(Array(tensors.keys), to: "model.safetensors", in: directory)
      return try SafetensorsCheckpoint(path: directory.url.path(percentEncoded: false))
    }
    var map: JSONValue = [:]
    for (number, names) in Dictionary(grouping: tensors.keys, by: shard) {
      let file = "model-\(number).safetensors"
      try write(names, to: file, in: directory)
      for name in names { map[name] = .string(file) }
    }
    let index: JSONValue = ["metadata": [:], "weight_map": map]
    try directory.write(index.serialised(.pretty), to: "model.safetensors.index.json")
    return try SafetensorsCheckpoint(path: directory.url.path(percentEncoded: false))
  }

  private func write(_ names: [String], to file: String, in directory: TemporaryDirectory) throws {
    let header = try SafetensorsHeader(
      names.compactMap { name in tensors[name].map { (name, $0.type, $0.shape) } }, order: .given)
    try directory.write(
      try header.serialised() + names.flatMap { try bytes($0) }, to: file)
  }

  func gguf(in directory: TemporaryDirectory) throws -> GGUFCheckpoint {
    let header = try GGUFHeader(
      version: 3, metadata: metadata,
      tensors: tensors.map {
        GGUFTensorEntry(name: $0.key, type: $0.value.type, shape: $0.value.shape)
      }
    ).encoded()
    var file = header.bytes
    for (name, range) in zip(tensors.keys, header.ranges) {
      file += [UInt8](repeating: 0, count: range.lowerBound - file.count)
      file += try bytes(name)
    }
    file += [UInt8](repeating: 0, count: max(0, header.fileBytes - file.count))
    return try GGUFCheckpoint(path: try directory.write(file, to: "model.gguf"))
  }

  /// Opens the draft as whichever container it describes and reads its layout.
  func layout(mtp: Bool = false) throws -> ModelLayout {
    let directory = try TemporaryDirectory()
    return metadata.isEmpty
      ? try ModelLayout.read(try safetensors(in: directory), mtp: mtp)
      : try ModelLayout.read(try gguf(in: directory), mtp: mtp)
  }
}
