// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Routing

/// The sizes that llama.cpp makes tensors of; where a key differs between layers, the first's.
struct GGUFSizes {
  let vocabulary: Int
  let heads: Int
  let keyHeads: Int
  /// Of a query or key head, of a value head, and of what is rotated.
  let keySize: Int
  let valueSize: Int
  let rotated: Int
  let experts: Int
  let expertWidth: Int
  let denseWidth: Int
  let denseLayers: Int
  let predictionLayers: Int
  let sharedCount: Int
  /// Nil: the key is absent.
  let sharedWidth: Int?
  /// Of inputs that each layer has of its own.
  let inputWidth: Int
  /// Latent attention.
  let queryRank: Int
  let keyRank: Int
  /// Of a sparse indexer.
  let indexerHeads: Int
  let indexerHeadSize: Int
  /// Of gated delta nets.
  let deltaHeads: Int
  let deltaKeyHeads: Int
  let deltaSize: Int
  let deltaKernel: Int
  /// The sizes of heads after expansion, where the file's matrices are split by head.
  let split: (key: Int, value: Int)?

  init(
    _ layout: ModelLayout, _ settings: inout Settings, vocabulary: Int
  ) throws(RegateError) {
    func count(_ name: String, _ fallback: Int = 0) throws(RegateError) -> Int {
      try settings.integer(Key(name, default: nil)) ?? fallback
    }
    func first(_ name: String) throws(RegateError) -> Int? {
      try settings.perLayer(Key(name, default: nil))?[0]
    }
    self.vocabulary = vocabulary
    let hidden = layout.hiddenSize
    heads = try first("attention.head_count") ?? 0
    guard heads > 0 else {
      throw settings.missing(Key<Int>("attention.head_count", default: nil))
    }
    keyHeads = try first("attention.head_count_kv") ?? heads
    keySize = try count("attention.key_length", hidden / heads)
    valueSize = try count("attention.value_length", hidden / heads)
    rotated = try count("rope.dimension_count", keySize)
    denseWidth = try first("feed_forward_length") ?? 0
    let layer = layout.layers.first
    experts = layer?.rule.experts ?? 0
    expertWidth =
      layout.family.gguf.made.expertsAreDenseWide ? denseWidth : layer?.expertWidth ?? 0
    denseLayers = try count("leading_dense_block_count")
    predictionLayers = try count("nextn_predict_layers")
    sharedCount = try count("expert_shared_count")
    let shared = try count("expert_shared_feed_forward_length")
    sharedWidth = shared > 0 ? shared : nil
    inputWidth = try count("embedding_length_per_layer_input")
    queryRank = try count("attention.q_lora_rank")
    keyRank = try count("attention.kv_lora_rank")
    indexerHeads = try count("attention.indexer.head_count")
    indexerHeadSize = try count("attention.indexer.key_length")
    deltaHeads = try count("ssm.time_step_rank")
    deltaKeyHeads = try count("ssm.group_count")
    deltaSize = try count("ssm.state_size")
    deltaKernel = try count("ssm.conv_kernel")
    let expanded = (
      key: try count("attention.key_length_mla"), value: try count("attention.value_length_mla")
    )
    split = expanded.key > 0 && expanded.value > 0 ? expanded : nil
    if case .latent = layout.family.mixer {
      try checkLatent(layout, settings)
    } else {
      try checkHeads(layout.family.gguf.made, settings)
    }
  }

  /// What llama.cpp asserts when it builds its graph.
  private func checkHeads(
    _ made: GGUFClassTraits, _ settings: Settings
  ) throws(RegateError) {
    let size = made.headsAreRotated ? rotated : keySize
    guard valueSize == size else {
      throw settings.mismatch(
        "attention.value_length", "is \(valueSize), but heads have keys of size \(size)")
    }
    guard rotated == keySize || !made.rotatesWholeHeads else {
      throw settings.mismatch(
        "rope.dimension_count", "is \(rotated), but heads have keys of size \(keySize)")
    }
  }

  private func checkLatent(
    _ layout: ModelLayout, _ settings: Settings
  ) throws(RegateError) {
    // Models of these depths have one matrix for the queries, and no key for a rank.
    let isLite =
      [26, 27].contains(layout.layerCount)
      || layout.layerCount == 48 && vocabulary == 128_256
    guard isLite || settings.has("attention.q_lora_rank") else {
      throw settings.missing(Key<Int>("attention.q_lora_rank", default: nil))
    }
    guard split != nil else { return }
    guard keyHeads == 1 else {
      throw settings.mismatch(
        "attention.head_count_kv", "is \(keyHeads), expected 1: all heads share the latent keys")
    }
    guard keySize == keyRank + rotated else {
      throw settings.mismatch(
        "attention.key_length",
        "is \(keySize), expected \(keyRank + rotated), the rank of the keys and what is rotated")
    }
  }
}
