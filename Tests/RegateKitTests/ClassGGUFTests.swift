// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp makes of GGUF files; the verdicts are those of llama.cpp 0.5.0-dev.

import Foundation
import RegateKit
import TestSupport
import Testing

/// Bytes of a GGUF file that are replaced: a text by another of its length, or the 32 bits behind
/// a key and its type.
private enum Patch: Sendable {
  case text(String, String)
  case value(String, UInt32)
  case type(String, UInt32)
  /// The type of a tensor of one dimension.
  case tensorType(String, UInt32)
}

private struct Change: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let model: TinyModel
  let patch: Patch
  /// What the finding is about.
  let subject: String

  init(_ label: String, _ model: TinyModel, _ patch: Patch, _ subject: String) {
    (testDescription, self.model, self.patch, self.subject) = (label, model, patch, subject)
  }
}

private let changes = [
  Change(
    "a renamed matrix", .mixtral, .text("blk.0.attn_q.weight", "blk.0.attn_x.weight"),
    "blk.0.attn_q.weight"),
  Change(
    "a renamed norm", .qwen3, .text("output_norm.weight", "output_nrom.weight"),
    "output_norm.weight"),
  Change(
    "a surplus of layers", .qwen3, .value("qwen3moe.block_count", 1), "blk.1.attn_norm.weight"),
  Change(
    "a key of another type", .mixtral, .type("llama.embedding_length", 5),
    "llama.embedding_length"),
  Change("a norm of integers", .qwen3, .tensorType("output_norm.weight", 26), "output_norm.weight"),
  Change("a type of the file", .qwen3, .type("general.file_type", 5), "general.file_type"),
  Change(
    "an absent epsilon", .qwen3,
    .text(
      "qwen3moe.attention.layer_norm_rms_epsilon", "qwen3moe.attention.layer_norm_rms_epsilox"),
    "qwen3moe.attention.layer_norm_rms_epsilon"),
  Change(
    "more heads", .qwen3, .value("qwen3moe.attention.head_count", 3), "blk.0.attn_q.weight"),
  Change(
    "two key heads of latent attention", .deepseek,
    .value("deepseek2.attention.head_count_kv", 2), "deepseek2.attention.head_count_kv"),
]

@Test(arguments: TinyModel.all)
func `a whole GGUF file loads in llama.cpp`(_ model: TinyModel) throws {
  let outcome = try Check.run(.init(checkpoint: model.gguf, runtimes: [.llamaCpp])).outcomes[0]
  #expect(
    outcome.verdict == .loads && outcome.confirmed?.versions == ["0.5.0-dev"], "\(outcome.findings)"
  )
}

/// The file has no vocabulary, at which llama.cpp stops too.
@Test(arguments: [(UInt32(8), false), (7, true)])
func `values of GPT-OSS are as wide as what is rotated`(size: UInt32, isNamed: Bool) throws {
  let key = "gpt-oss.attention.value_length"
  var bytes = try Data(
    contentsOf: fixtures.appending(path: "variants/gguf-gpt-oss/model.gguf"))
  let end = try #require(bytes.range(of: Data(key.utf8))).upperBound
  bytes.replaceSubrange(end + 4..<end + 8, with: littleEndian(size))
  let directory = try TemporaryDirectory()
  let path = directory.path("model.gguf")
  try bytes.write(to: URL(filePath: path))
  let outcome = try Check.run(.init(checkpoint: path, runtimes: [.llamaCpp])).outcomes[0]
  #expect(outcome.findings.contains { $0.subject == key || $0.names.contains(key) } == isNamed)
}

@Test(arguments: changes)
private func `what llama.cpp refuses in a GGUF file is named`(_ change: Change) throws {
  let directory = try TemporaryDirectory()
  var bytes = try Data(contentsOf: URL(filePath: change.model.gguf))
  switch change.patch {
  case .text(let old, let new):
    bytes.replaceSubrange(try #require(bytes.range(of: Data(old.utf8))), with: Data(new.utf8))
  case .value(let key, let value):
    let end = try #require(bytes.range(of: Data(key.utf8))).upperBound
    bytes.replaceSubrange(end + 4..<end + 8, with: littleEndian(value))
  case .type(let key, let type):
    let end = try #require(bytes.range(of: Data(key.utf8))).upperBound
    bytes.replaceSubrange(end..<end + 4, with: littleEndian(type))
  case .tensorType(let name, let type):
    let end = try #require(bytes.range(of: Data(name.utf8))).upperBound
    bytes.replaceSubrange(end + 12..<end + 16, with: littleEndian(type))
  }
  let path = directory.path("model.gguf")
  try bytes.write(to: URL(filePath: path))
  let outcome = try Check.run(.init(checkpoint: path, runtimes: [.llamaCpp])).outcomes[0]
  #expect(outcome.verdict == .doesNotLoad, "\(outcome.findings)")
  #expect(
    outcome.findings.contains { $0.subject == change.subject || $0.names.contains(change.subject) },
    "\(outcome.findings)")
}
