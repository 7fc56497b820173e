// SPDX-License-Identifier: Apache-2.0
//
// The thinker's language model of Qwen3-Omni (Alibaba): Qwen3-MoE, whose rotation has three
// positions for each token, which are the same in text. Its towers, and the talker with its own
// experts, are left alone. Its GGUF files say `qwen3vlmoe`.

import Checkpoints
import Routing

extension Family {
  static let qwen3Omni = Family(
    name: "qwen3_omni_moe", title: "Qwen3-Omni",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 4), headSize: .optional("head_dim"),
        norm: .perHead, biases: .attentionBias(output: true),
        rope: RopeTraits(ggufRotatesWholeHeads: true, defaultTheta: 1_000_000))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen3_omni_moe_text"],
      architectures: ["Qwen3OmniMoeThinkerForConditionalGeneration"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 28, heads: 28, vocabulary: 3584, context: 32_768, epsilon: 1e-6),
      experts: Key("num_local_experts", "num_experts", default: 128), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 768), denseWidth: .denseWidth(default: 18_944),
      sharedExperts: nil, sparsity: .qwen,
      names: TensorNames(gate: ["mlp.gate.weight"], containers: ["mlp.experts"]),
      routing: .softmax(normalise: .key(.normTopK(default: true))),
      made: ClassTraits(
        fields: .qwen.adding([
          "attention_bias": .flag, "head_dim": .optionalInteger, "num_local_experts": .integer,
        ])),
      caveats: [
        SharedCaveats.llamaCppNormalises(true), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    // Its files cannot be told from Qwen3-VL's, and need not be.
    gguf: .qwen3VL(recognises: { _ in false }))
}

extension GGUFTraits {
  /// The language models of Qwen3-VL-MoE and Qwen3-Omni.
  static func qwen3VL(
    recognises: (@Sendable (GGUFCheckpoint) -> Bool)? = nil
  ) -> GGUFTraits {
    GGUFTraits(
      architecture: "qwen3vlmoe", recognises: recognises,
      expertWidth: .ownOrFeedForwardOverTopK, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      made: GGUFClassTraits(
        headNorms: .perHead, required: ["rope.dimension_sections": .sections],
        optional: [
          "expert_feed_forward_length": .u32PerLayer, "n_deepstack_layers": .u32,
        ]))
  }
}
