// SPDX-License-Identifier: Apache-2.0
//
// Layers that llama.cpp computes an indexer for (glm-dsa.cpp, deepseek32.cpp): without its tensors
// it loads, and stops in the first sequence.

import Architectures
import ByteStorage
import Checkpoints
import TestSupport
import Testing

@Suite("Sparse indexers of GGUF files") struct SparseIndexerTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var architecture = "glm-dsa"
    var layers: UInt32 = 8
    var context: UInt32 = 202_752
    var types: GGUFValue?
    let indexed: [Int]
  }

  private static let cases = [
    Case(testDescription: "V3.2", architecture: "deepseek32", indexed: Array(0..<8)),
    Case(testDescription: "GLM-5", indexed: Array(0..<8)),
    Case(
      testDescription: "GLM-5.2, by its context", layers: 12, context: 1 << 20,
      indexed: [0, 1, 2, 6, 10]),
    Case(
      testDescription: "a list", layers: 4, types: .array(.bool([true, false, false, true])),
      indexed: [0, 3]),
    Case(
      testDescription: "a list of numbers", layers: 4, context: 1 << 20,
      types: .array(.int32([1, 1, 0, 1])), indexed: [0, 1, 3]),
    Case(testDescription: "one number", layers: 4, types: .uint32(0), indexed: []),
  ]

  private func parameters(_ sample: Case) throws -> [Parameter] {
    var settings: [String: GGUFValue] = [
      "block_count": .uint32(sample.layers), "context_length": .uint32(sample.context),
      "leading_dense_block_count": .uint32(1), "expert_shared_count": .uint32(1),
      "attention.head_count": .uint32(2), "attention.head_count_kv": .uint32(1),
      "attention.q_lora_rank": .uint32(4), "attention.kv_lora_rank": .uint32(4),
      "attention.key_length": .uint32(6), "rope.dimension_count": .uint32(2),
      "attention.key_length_mla": .uint32(4), "attention.value_length_mla": .uint32(4),
      "attention.indexer.head_count": .uint32(2), "attention.indexer.key_length": .uint32(4),
      "attention.indexer.top_k": .uint32(8), "expert_gating_func": .uint32(2),
    ]
    settings["attention.indexer.types"] = sample.types
    let draft = ModelDraft.gguf(
      sample.architecture, settings, layers: Array(1..<Int(sample.layers)), bias: true)
    let directory = try TemporaryDirectory()
    let checkpoint = try draft.gguf(in: directory)
    return try GGUFParameters.list(try ModelLayout.read(checkpoint), checkpoint)
  }

  @Test(arguments: cases)
  func `layers have the indexers that llama.cpp computes`(_ sample: Case) throws {
    let indexers = try parameters(sample).filter { $0.forms[0][0].name.contains(".indexer.") }
    #expect(indexers.count == 5 * Int(sample.layers))
    #expect(
      indexers.filter { !$0.isOptional }.map { $0.forms[0][0].name }
        == sample.indexed.flatMap { layer in
          ["k_norm.weight", "k_norm.bias", "proj.weight", "attn_k.weight", "attn_q_b.weight"]
            .map { "blk.\(layer).indexer.\($0)" }
        })
  }

  @Test func `a list of another length is refused`() throws {
    let error = #expect(throws: RegateError.self) {
      _ = try parameters(
        Case(
          testDescription: "", layers: 4, types: .array(.bool([true, false])), indexed: []))
    }
    #expect(error?.subject == "glm-dsa.attention.indexer.types" && error?.code == .mismatch)
  }
}
