// SPDX-License-Identifier: Apache-2.0

import Foundation
import Inference
import Tensors
import Testing

@Suite("Families and forms against transformers") struct VariantTests {
  /// Logits are around 5 and both sides compute in Float32; measured differences are below 5e-6.
  static let logitTolerance: Float = 3e-5

  @Test(arguments: Variant.names)
  func `logits of every token are those of transformers`(name: String) throws {
    let variant = try Variant(name)
    let logits = try variant.pass().logits(at: Array(0..<variant.logits.rows))
    let difference = logits.largestDifference(to: variant.logits)
    #expect(difference < Self.logitTolerance)
  }

  @Test(arguments: Variant.names)
  func `mean NLL is that of transformers`(name: String) throws {
    let variant = try Variant(name)
    let scores = try variant.pass().scores()
    #expect(scores.count == 1 && scores[0].nll.count == variant.logits.rows - 2)
    #expect(abs(scores[0].meanNLL - Double(variant.nll)) < 5e-6)
    #expect(scores[0].divergence.allSatisfy { $0 == 0 } && scores[0].agrees.allSatisfy { $0 })
  }

  @Test func `every variant on disk is tested`() throws {
    let folder = Variant.folder("")
    let found = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(Set(found) == Set(Variant.names + ["README.md"]))
  }
}
