// SPDX-License-Identifier: Apache-2.0
//
// What DeepSeek-V2, V3 and the families that follow them share.

import Checkpoints
import OrderedCollections
import Routing

extension TensorNames {
  static let deepSeek = TensorNames(
    gate: ["mlp.gate.weight"], selectionBias: ["mlp.gate.e_score_correction_bias"],
    containers: ["mlp.experts"], shared: ["mlp.shared_experts"])
}

extension MixerTraits {
  static func deepSeek(
    interleaved: Switch, rotatedSize: String?, sizes: LatentSizes = LatentSizes(),
    readsPart: Bool = false, readsYarnLogMultiplier: Bool = true, indexer: SparseIndexer? = nil
  ) -> MixerTraits {
    .latent(
      LatentAttentionTraits(
        sizes: sizes, biases: .attentionBias(output: true), rotatedSize: rotatedSize,
        rope: RopeTraits(
          interleaved: interleaved, ggufInterleaved: true, readsPart: readsPart, growsSoftmax: true,
          readsYarnLogMultiplier: readsYarnLogMultiplier, ggufEqualsScales: indexer == nil,
          ggufGrowsQueries: indexer == nil),
        indexer: indexer))
  }
}

extension GGUFTraits {
  /// One GGUF architecture for V2 and V3, and others that differ from it by an indexer.
  static func deepseek2(
    _ architecture: String = "deepseek2", indexes: Bool = false,
    scoring: RoutingTraits.Scoring? = nil, publishedGroups: String? = nil,
    recognises: (@Sendable (GGUFCheckpoint) -> Bool)? = nil, caveats: [Caveat]
  ) -> GGUFTraits {
    GGUFTraits(
      architecture: architecture, recognises: recognises, sparsity: .ggufLeadingDense,
      selectionBias: .optional, fusedGateUp: true,
      routing: .llamaCppFromKeys(scoring ?? .gatingFunction(default: .softmax)),
      made: GGUFClassTraits(
        wasRun: true, hasDenseLayers: true, shared: .counted, predicts: true,
        required: ([
          "attention.kv_lora_rank": .u32, "expert_feed_forward_length": .u32PerLayer,
          "expert_shared_count": .u32,
        ] as [String: GGUFKeyType]).merging(indexes ? .indexer : [:]) { $1 },
        optional: [String: GGUFKeyType].weighing.merging([
          "attention.q_lora_rank": .u32, "attention.key_length_mla": .u32,
          "attention.value_length_mla": .u32, "rope.scaling.yarn_log_multiplier": .f32,
        ]) { $1 }.merging(indexes ? [:] : .unindexed) { $1 }),
      impliedScoring: { DeepSeekGGUF.isGLM47Flash($0) ? .sigmoid : nil },
      publishedGroups: publishedGroups, caveats: caveats)
  }
}

enum DeepSeekGGUF {
  /// V3's files say sigmoid; where the key is absent, only V3 has a selection bias.
  static func isV3(_ checkpoint: GGUFCheckpoint) -> Bool {
    let function = checkpoint.metadata["deepseek2.expert_gating_func"]?.integer ?? 0
    if function != 0 { return function == GatingFunction.sigmoid.rawValue }
    return isGLM47Flash(checkpoint)
      || checkpoint.tensors.keys.contains { $0.contains(".exp_probs_b") }
  }

  /// llama.cpp's one exception for `deepseek2` files without a gating function, which it routes by
  /// sigmoid: GLM-4.7-Flash, known by its layer count and vocabulary.
  static func isGLM47Flash(_ checkpoint: GGUFCheckpoint) -> Bool {
    let metadata = checkpoint.metadata
    guard let blocks = metadata["deepseek2.block_count"]?.integer else { return false }
    let nextn = metadata["deepseek2.nextn_predict_layers"]?.integer ?? 0
    let (layers, overflow) = blocks.subtractingReportingOverflow(nextn)
    guard !overflow, layers == 47 || layers == 48 else { return false }
    let vocabulary =
      metadata["deepseek2.vocab_size"]?.integer
      ?? metadata["tokenizer.ggml.tokens"]?.array?.count
    return vocabulary == 154_880
  }
}

enum DeepSeekCaveats {
  /// Why the official LPR code cannot hold the routing of these models.
  static let officialRouting =
    "a softmax of the chosen scores, without expert groups, scale and selection bias"

  static let absentGroups: Caveat = { subject in
    guard !subject.settings.has("expert_group_count") else { return nil }
    let published = subject.family.gguf.publishedGroups ?? ""
    return "\(subject.name("expert_group_count")) is absent: llama.cpp chooses among all experts,"
      + " with no group limit (\(published)); if the model has groups, this file and its"
      + " safetensors source can choose different experts"
  }

  static let absentScale: Caveat = { subject in
    guard subject.read("expert_weights_scale")?.isDefault ?? true else { return nil }
    return "\(subject.name("expert_weights_scale")) is absent: llama.cpp does not scale the weights"
      + " (DeepSeek-V3 uses 2.5, V2 16, V2-Lite 1)"
  }
}
