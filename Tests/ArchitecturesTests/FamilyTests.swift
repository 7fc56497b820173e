// SPDX-License-Identifier: Apache-2.0

import Architectures
import Routing
import Testing

/// What must hold of the families' files together.
@Suite("Families") struct FamilyTests {
  private static func isUnique(_ names: [String]) -> Bool { Set(names).count == names.count }

  @Test func `no two families have a name or an alias in common`() {
    let all = Family.all
    #expect(Self.isUnique(all.map(\.name)) && Self.isUnique(all.map(\.title)))
    #expect(Self.isUnique(all.flatMap { $0.huggingFace.modelTypes }))
    #expect(Self.isUnique(all.flatMap { $0.huggingFace.architectures }))
    #expect(
      Self.isUnique(
        all.flatMap { [$0.forms.classPrefix, $0.forms.wrapper?.classPrefix] }
          .compactMap(\.self)))
    #expect(Self.isUnique(all.compactMap(\.official?.modelType)))
    // The official code's types are no one else's.
    let types = all.flatMap { $0.huggingFace.modelTypes }
    #expect(all.compactMap(\.official?.modelType).allSatisfy { !types.contains($0) })
  }

  @Test(arguments: Family.all)
  func `a family has what readers ask for`(family: Family) {
    let traits = family.huggingFace
    #expect(!traits.modelTypes.isEmpty && !traits.architectures.isEmpty)
    #expect(traits.unregisteredTypes.isSubset(of: traits.borrowedTypes.union(traits.modelTypes)))
    #expect(traits.borrowedTypes.isDisjoint(with: traits.modelTypes))
    #expect(!traits.names.gate.isEmpty && !traits.names.containers.isEmpty)
    #expect((traits.selectionBias == .ignored) || !traits.names.selectionBias.isEmpty)
    #expect(family.gguf.gateBias == !traits.names.gateBias.isEmpty)
    let keys = [traits.experts, traits.topK, traits.expertWidth]
    #expect(keys.allSatisfy { !$0.names.isEmpty })
    // A published name has a role, and the right one.
    #expect(traits.names.gate.allSatisfy { traits.names.role(of: $0) == .gate })
  }

  @Test(arguments: Family.all.filter(\.hasPrototypeForm))
  func `the modelling class of a family with a prototype form is named`(family: Family) {
    let names = [family.forms.classPrefix, family.forms.wrapper?.classPrefix].compactMap(\.self)
    #expect(!names.isEmpty && names.allSatisfy { $0.hasPrefix("Regate") })
  }

  /// Of families with one GGUF architecture, all but one recognise their files.
  @Test func `a GGUF file belongs to one family`() {
    for (architecture, families) in Dictionary(grouping: Family.all, by: \.gguf.architecture)
    where architecture != nil {
      #expect(families.count { $0.gguf.recognises == nil } == 1)
    }
  }

  /// Which families the facts of `RuntimeTraits` that follow from others hold for.
  @Test func `what runtimes make of a family follows from how they read it`() {
    func names(_ holds: (Family) -> Bool) -> [String] { Family.all.filter(holds).map(\.name) }
    #expect(
      names(\.llamaCppForcesNorm) == [
        "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "lfm2_moe", "kimi_linear",
      ])
    #expect(names(\.transformersIgnoresNorm) == ["deepseek_v2"])
    #expect(names(\.groupScoresDiffer) == ["deepseek_v2"])
    #expect(
      names { $0.assumedGGUFScoring == .softmax } == [
        "deepseek_v2", "glm4_moe_lite", "deepseek_v3", "mistral4",
      ])
    #expect(
      names(\.llamaCppHasDenseLayers)
        == [
          "deepseek_v2", "glm4_moe_lite", "deepseek_v3", "glm4_moe", "dots1", "ernie4_5_moe",
          "deepseek_v32", "glm_moe_dsa", "mistral4", "deepseek_v4", "minimax_m3", "step3p5",
          "hy_v3", "nemotron_h", "lfm2_moe", "llama4", "afmoe", "bailing_hybrid", "kimi_linear",
          "kimi_k3", "exaone_moe", "bailing_moe_v2",
        ])
  }
}
