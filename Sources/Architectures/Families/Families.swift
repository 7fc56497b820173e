// SPDX-License-Identifier: Apache-2.0
//
// The families. A new one is a file in this folder and its name in the list; where it computes in a
// way that no other does, also a file under Inference/Mixers or a case of its traits.

extension Family {
  /// Every family, those with a prototype form first. Where a name is unknown and two are as near,
  /// the first one is suggested.
  package static let all: [Family] =
    [
      .mixtral, .qwen3, .deepseekV2, .glm4Lite, .deepseekV3, .glm4, .gptOSS, .qwen3Next, .dots1,
      .miniMaxM2, .granite, .olmoe, .qwen2, .phi, .ernie, .deepseekV32, .glmDSA, .mistral4,
      .qwen35, .gemma4, .qwen3VL, .qwen3Omni,
    ] + inspected

  /// Those that are not run: inspected, placed, and converted from captures.
  private static let inspected: [Family] = [
    .deepseekV4, .miniMaxM3, .step35, .hunYuanV3, .nemotronH, .lfm2, .llama4, .afmoe, .bailing,
    .kimiLinear, .kimiK3, .hunYuan, .solarOpen, .exaone, .bailingMoE, .bailingMoE2, .mistralLarge4,
  ]

  /// Model types that are known, and why Regate does not read them.
  static let refused = [
    "longcat_flash": "its routers choose among experts that compute nothing, too, which are stored"
      + " nowhere: Regate does not balance or place these yet"
  ]
}
