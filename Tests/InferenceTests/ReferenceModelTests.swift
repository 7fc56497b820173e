// SPDX-License-Identifier: Apache-2.0
//
// On demand (tools/interop/accuracy.py): logits of trained models against those that lie beside
// them. REGATE_REFERENCE_MODELS names folders, divided by colons, each with a safetensors
// checkpoint and `reference.safetensors`: `token_ids.first_sequence` [T] and
// `logits.first_sequence` [T,V], by transformers in float32.

import Architectures
import Checkpoints
import Foundation
import Inference
import Tensors
import Testing

private let folders =
  ProcessInfo.processInfo.environment["REGATE_REFERENCE_MODELS"]?
  .split(separator: ":").map(String.init) ?? []

@Suite("Reference models", .enabled(if: !folders.isEmpty)) struct ReferenceModelTests {
  /// What a trained model's logits, which are around 10, may be off.
  static let logitTolerance: Float = 2e-3

  @Test(arguments: folders)
  func `logits of the first sequence are those of transformers`(folder: String) throws {
    let checkpoint = try SafetensorsCheckpoint(path: folder + "/model.safetensors")
    let model = try InferenceModel(checkpoint, layout: try ModelLayout.read(checkpoint))
    let reference = try ArrayContainer.open(folder + "/reference.safetensors")
    let ids = try reference.array("token_ids.first_sequence").integers()
    let stored = try reference.array("logits.first_sequence")
    let logits = Matrix(
      rows: stored.shape[0], columns: stored.shape[1],
      values: try stored.floats(rows: 0..<stored.shape[0]))
    let pass = try ForwardPass(model, sequences: [ids], threads: 1)
    try pass.finish()
    let difference = try pass.logits(at: Array(ids.indices)).largestDifference(to: logits)
    print("\(folder): logits of \(ids.count) tokens, largest difference \(difference)")
    #expect(difference < Self.logitTolerance)
  }
}
