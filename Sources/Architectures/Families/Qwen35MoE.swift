// SPDX-License-Identifier: Apache-2.0
//
// The language model of Qwen3.5 and Qwen3.6 with experts (Alibaba): Qwen3-Next that always
// renormalises, and stores the inputs of its delta nets apart. Its rotation has three positions for
// each token, which are the same in text. The vision tower is left alone.

import Routing

extension Family {
  static let qwen35 = Family(
    name: "qwen3_5_moe", title: "Qwen3.5-MoE",
    mixer: .hybrid(GatedDeltaTraits(ggufSpreadsValueHeads: true), .gatedQwen(sections: true)),
    gatesSharedExpert: true,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen3_5_moe_text"],
      architectures: ["Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 40, heads: 16, vocabulary: 248_320, context: 32_768, epsilon: 1e-6
      ),
      experts: Key("num_experts", default: 256), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 512), sharedExperts: nil,
      sharedWidth: Key("shared_expert_intermediate_size", default: 512), sparsity: .all,
      names: .gatedQwen, centresNorms: true, routing: .softmax(normalise: .fixed(true)),
      made: ClassTraits(
        fields: [String: FieldTypes].delta.adding([
          "intermediate_size": .any, "moe_intermediate_size": .integer,
          "num_experts": .integer, "router_aux_loss_coef": .number,
        ]), shared: .gated("mlp.shared_expert"), rotatesPart: true)),
    gguf: .gatedQwen("qwen35moe", alsoRequired: ["rope.dimension_sections": .sections]),
    forms: FormTraits(
      classPrefix: "RegateQwen3_5MoeText",
      wrapper: WrapperClasses(modelType: "qwen3_5_moe", classPrefix: "RegateQwen3_5Moe")),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))
}
