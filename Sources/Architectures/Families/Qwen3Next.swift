// SPDX-License-Identifier: Apache-2.0
//
// Qwen3-Next-80B-A3B (Alibaba): gated delta nets, and attention with gates on every fourth layer.

import Routing

extension Family {
  static let qwen3Next = Family(
    name: "qwen3_next", title: "Qwen3-Next",
    mixer: .hybrid(GatedDeltaTraits(joinsByKeyHead: true), .gatedQwen()), gatesSharedExpert: true,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen3_next"], architectures: ["Qwen3NextForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 48, heads: 16, vocabulary: 151_936, context: 32_768, epsilon: 1e-6
      ),
      experts: Key("num_experts", default: 512), topK: .topK(default: 10),
      expertWidth: .expertWidth(default: 512), denseWidth: .denseWidth(default: 5632),
      sharedExperts: nil, sharedWidth: Key("shared_expert_intermediate_size", default: 512),
      sparsity: .qwen, names: .gatedQwen, centresNorms: true,
      routing: .softmax(normalise: .key(.normTopK(default: true))),
      made: ClassTraits(
        fields: .qwen.adding(.delta), shared: .gated("mlp.shared_expert"), rotatesPart: true),
      caveats: [
        SharedCaveats.llamaCppNormalises(true), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    gguf: .gatedQwen("qwen3next"), forms: FormTraits(classPrefix: "RegateQwen3Next"),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))
}

extension GroupedQueryTraits {
  /// The attention of Qwen3-Next and Qwen3.5.
  static func gatedQwen(sections: Bool = false) -> GroupedQueryTraits {
    GroupedQueryTraits(
      keyHeads: Key("num_key_value_heads", default: 2), headSize: Key("head_dim", default: 256),
      norm: .perHead, biases: .attentionBias(output: true), gatesContext: true,
      rope: RopeTraits(ggufSections: sections ? .byTurns : .none, partialRotation: 0.25))
  }
}

extension TensorNames {
  static let gatedQwen = TensorNames(
    gate: ["mlp.gate.weight"], containers: ["mlp.experts"],
    shared: ["mlp.shared_expert", "mlp.shared_expert_gate"])
}

extension GGUFTraits {
  /// The two architectures with gated delta nets.
  static func gatedQwen(
    _ architecture: String, alsoRequired: [String: GGUFKeyType] = [:]
  ) -> GGUFTraits {
    GGUFTraits(
      architecture: architecture, expertWidth: .ownOrFeedForwardOverTopK,
      feedForwardNorm: "post_attention_norm", fusedGateUp: true, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      made: GGUFClassTraits(
        rotatesWholeHeads: false, headNorms: .perHead, shared: .gated, predicts: true,
        required: [String: GGUFKeyType].delta.merging(alsoRequired) { $1 },
        optional: [
          "expert_feed_forward_length": .u32PerLayer, "expert_shared_feed_forward_length": .u32,
          "full_attention_interval": .u32,
        ]))
  }
}
