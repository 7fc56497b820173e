// SPDX-License-Identifier: Apache-2.0
//
// K-EXAONE (LG AI Research): DeepSeek-V3's routing. Its attention is not run yet.

import Routing

extension Family {
  static let exaone = Family(
    name: "exaone_moe", title: "EXAONE-MoE",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["exaone_moe"], architectures: ["ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 32, heads: 32, vocabulary: 102_400, context: 2048, epsilon: 1e-5),
      experts: Key("num_experts", default: 64), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 1024),
      sharedExperts: Key("num_shared_experts", default: 1),
      sparsity: .named("mlp_layer_types", otherwise: .firstDense(default: 1)),
      names: TensorNames(
        gate: ["mlp.gate.weight"],
        selectionBias: ["mlp.e_score_correction_bias", "mlp.gate.e_score_correction_bias"],
        containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      selectionBias: .expected,
      routing: .sigmoidGroups(count: 1, kept: 1, normalise: .normTopK(default: true), scale: 2.5),
      mtpLayers: Key("num_nextn_predict_layers", default: 0)),
    gguf: GGUFTraits(
      architecture: "exaone-moe", sparsity: .ggufLeadingDense, selectionBias: .optional,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))
}
