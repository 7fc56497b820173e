// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import Inference
import OrderedCollections
import Tensors
import TestSupport
import Testing

/// A tiny random model of `fixtures/variants` with its golden values
/// (`tools/fixtures/tiny_variants.py`).
struct Variant {
  static let names = [
    "deepseek-v2", "deepseek-v2-lite", "deepseek-v3-fp8", "dots1", "ernie", "gemma4",
    "glm4", "glm4-lite",
    "gguf-deepseek-v3-legacy", "gguf-deepseek-v3-split", "gguf-dots1", "gguf-ernie",
    "gguf-gemma4", "gguf-gpt-oss", "gguf-granite", "gguf-mixtral-llama3-tied", "gguf-phi",
    "gguf-qwen2-shared-gate", "gguf-qwen3-5", "gpt-oss", "granite", "minimax", "mistral4",
    "mixtral-llama3-tied", "mixtral-window", "olmoe", "phi", "qwen2-shared-gate", "qwen3-5",
    "qwen3-fused-linear", "qwen3-next", "qwen3-yarn-dense",
  ]

  let model: InferenceModel
  let sequences: [[Int]]
  /// Of all tokens, sequence after sequence.
  let logits: Matrix
  let nll: Float

  static func folder(_ name: String) -> String {
    fixtures.appending(path: "variants/\(name)").path(percentEncoded: false)
  }

  /// The model in `folder`, in either container.
  static func model(in folder: String) throws -> InferenceModel {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    let checkpoint: any Checkpoint =
      if let file = names.filter({ $0.hasSuffix(".gguf") }).min() {
        try GGUFCheckpoint(path: folder + "/" + file)
      } else {
        try SafetensorsCheckpoint(path: folder + "/model.safetensors")
      }
    return try InferenceModel(checkpoint, layout: try ModelLayout.read(checkpoint))
  }

  init(_ name: String) throws {
    let folder = Self.folder(name)
    model = try Self.model(in: folder)
    let golden = try ArrayContainer.open(folder + "/golden.safetensors")
    let ids = try golden.array("token_ids").integers()
    var sequences: [[Int]] = []
    var start = 0
    for length in try golden.array("lengths").integers() {
      sequences.append(Array(ids[start..<start + length]))
      start += length
    }
    self.sequences = sequences
    let logits = try golden.array("logits")
    self.logits = Matrix(
      rows: logits.shape[0], columns: logits.shape[1],
      values: try logits.floats(rows: 0..<logits.shape[0]))
    nll = try golden.array("nll").floats(rows: 0..<1)[0]
  }

  /// A finished pass over the golden sequences.
  func pass(streams: Int = 1, threads: Int = 1) throws -> ForwardPass {
    let pass = try ForwardPass(model, sequences: sequences, streams: streams, threads: threads)
    try pass.finish()
    return pass
  }
}

extension Matrix {
  func largestDifference(to other: Matrix) -> Float {
    zip(values, other.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }
}
