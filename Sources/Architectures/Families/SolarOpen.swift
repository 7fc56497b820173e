// SPDX-License-Identifier: Apache-2.0
//
// Solar Open (Upstage): DeepSeek-V3's routing. Its GGUF files are GLM-4.5's. Its attention is not
// run yet.

import Routing

extension Family {
  static let solarOpen = Family(
    name: "solar_open", title: "Solar Open",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["solar_open"], architectures: ["SolarOpenForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 48, heads: 64, vocabulary: 196_608, context: 131_072,
        epsilon: 1e-5),
      experts: Key("num_local_experts", "n_routed_experts", default: 128), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 1280), sharedExperts: Key("n_shared_experts", default: 1),
      sparsity: .all, names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(count: 1, kept: 1, normalise: .normTopK(default: true), scale: 1)),
    gguf: .absent)
}
