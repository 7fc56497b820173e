// SPDX-License-Identifier: Apache-2.0

package import Checkpoints
import OrderedCollections

/// The keys at which llama.cpp stops: absent ones that it needs, and values of other types than it
/// reads.
package struct GGUFKeys {
  package struct Problem: Sendable {
    package let key: String
    package let text: String
  }

  package private(set) var refused: [Problem] = []

  /// Without their architecture. Read for every one.
  private static let required: [String: GGUFKeyType] = [
    "context_length": .u32, "embedding_length": .u32, "block_count": .u32,
    "attention.layer_norm_rms_epsilon": .f32, "attention.head_count": .u32PerLayer,
  ]
  private static let optional: [String: GGUFKeyType] = [
    "embedding_length_out": .u32, "attention.causal": .bool, "pooling_type": .u32,
    "nextn_predict_layers": .u32, "expert_count": .u32, "expert_used_count": .u32PerLayer,
    "expert_group_count": .u32, "expert_group_used_count": .u32,
    "feed_forward_length": .u32PerLayer, "attention.head_count_kv": .u32PerLayer,
    "rope.scaling.finetuned": .bool, "rope.scaling.original_context_length": .u32,
    "rope.freq_base": .f32, "rope.scaling.type": .string, "rope.scaling.factor": .f32,
    "rope.scaling.attn_factor": .f32, "rope.scaling.alpha": .f32, "attention.key_length": .u32,
    "attention.value_length": .u32, "rope.dimension_count": .u32,
  ]

  package init(_ checkpoint: GGUFCheckpoint, of family: Family) {
    let made = family.gguf.made
    let needed = Self.required.merging(made.required) { _, own in own }
    var read = Self.optional.merging(made.optional) { _, own in own }
    // Read where there is no list of the layers.
    if checkpoint.metadata["\(checkpoint.architecture).attention.recurrent_layers"] != nil {
      read["full_attention_interval"] = nil
    }
    let layers = checkpoint.metadata["\(checkpoint.architecture).block_count"]?.integer ?? 0
    for (key, type) in needed.sorted(by: { $0.key < $1.key }) {
      let name = "\(checkpoint.architecture).\(key)"
      if let value = checkpoint.metadata[name] {
        check(name, value, type, layers: layers)
      } else {
        refused.append(Problem(key: name, text: "the key is absent"))
      }
    }
    for (key, type) in read.sorted(by: { $0.key < $1.key }) {
      let name = "\(checkpoint.architecture).\(key)"
      if let value = checkpoint.metadata[name] { check(name, value, type, layers: layers) }
    }
    if let value = checkpoint.metadata["general.file_type"] {
      check("general.file_type", value, .u32, layers: layers)
    }
    checkScaling(checkpoint)
  }

  private mutating func check(
    _ name: String, _ value: GGUFValue, _ type: GGUFKeyType, layers: Int
  ) {
    guard !type.holds(value, layers: layers) else { return }
    refused.append(
      Problem(
        key: name, text: "is of type \(value.typeName), expected \(type.rawValue) as it reads it"))
  }

  private mutating func checkScaling(_ checkpoint: GGUFCheckpoint) {
    let name = "\(checkpoint.architecture).rope.scaling.type"
    guard let kind = checkpoint.metadata[name]?.string,
      !["none", "linear", "yarn", "longrope"].contains(kind)
    else { return }
    refused.append(Problem(key: name, text: "is \"\(kind)\", which is no kind that it knows"))
  }
}

extension GGUFKeyType {
  fileprivate func holds(_ value: GGUFValue, layers: Int) -> Bool {
    switch (self, value) {
    case (.u32, .uint32), (.u32PerLayer, .uint32), (.f32, .float32), (.bool, .bool),
      (.string, .string), (.string, .rawString):
      true
    case (.flags, .array(.bool(let values))): values.count >= layers
    case (.u32PerLayer, .array(.uint32(let values))): values.count == layers
    case (.u32PerLayer, .array(.int32(let values))): values.count == layers
    case (.sections, .array(.int32(let values))): values.count == 4
    default: false
    }
  }
}
