// SPDX-License-Identifier: Apache-2.0

/// A reader, and how it is given the bytes.
struct Target: Sendable {
  let name: String
  /// May throw a RegateError, and nothing else may go wrong.
  let body: @Sendable (_ bytes: [UInt8]) throws -> Void

  init(_ name: String, _ body: @escaping @Sendable (_ bytes: [UInt8]) throws -> Void) {
    self.name = name
    self.body = body
  }

  static let all: [Target] = [
    .safetensors, .safetensorsIndex, .gguf, .ggufModel, .ggufVocabulary, .imatrix, .npy, .npz,
    .zipMember, .gzip, .torch, .pickle, .json, .documents, .tokenizerJSON, .pattern, .tekken,
    .tiktoken, .tokenizerFolder, .delta, .undo, .fit, .resume, .capture, .tokenIDs, .counts,
    .config, .blocks,
  ]
}
