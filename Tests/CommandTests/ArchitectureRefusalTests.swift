// SPDX-License-Identifier: Apache-2.0
//
// Sound files that make no model Regate can work on.

import Foundation
import TestSupport
import Testing

/// A change to a sound model's configuration, or to its list of tensors.
struct Refusal: Sendable, CustomTestStringConvertible {
  let name: String
  let fragment: String
  var family = SyntheticModel.Family.mixtral
  var layout = SyntheticModel.Layout(.single)
  var config: @Sendable (inout [String: Any]) -> Void = { _ in }
  /// A tensor name and what it becomes; empty: the tensor is left out.
  var renamed: (String, String)?

  var testDescription: String { name }

  init(
    _ name: String, says fragment: String, _ family: SyntheticModel.Family = .mixtral,
    renaming renamed: (String, String)? = nil,
    config: @escaping @Sendable (inout [String: Any]) -> Void = { _ in }
  ) {
    self.name = name
    self.fragment = fragment
    self.family = family
    self.renamed = renamed
    self.config = config
  }

  static func setting(
    _ key: String, _ value: any Sendable, says fragment: String,
    _ family: SyntheticModel.Family = .mixtral
  ) -> Refusal {
    Refusal("\(family.rawValue): \(key) = \(value)", says: fragment, family) { $0[key] = value }
  }

  static let all = configurations + tensors

  static let configurations = [
    Refusal("no model_type", says: "model_type: the key is absent") {
      $0["model_type"] = nil
      $0["architectures"] = nil
    },
    Refusal("dense family", says: "\"llama\" is not a Mixture-of-Experts family") {
      $0["model_type"] = "llama"
      $0["architectures"] = ["LlamaForCausalLM"]
    },
    Refusal("no hidden size", says: "expected [8, 4096]") { $0["hidden_size"] = nil },
    setting("hidden_size", "64", says: "is \"64\", expected a whole number"),
    setting("hidden_size", 0, says: "hidden_size: is 0, expected"),
    setting("hidden_size", 128, says: "expected [8, 128]"),
    setting("num_hidden_layers", 0, says: "is 0, expected 1 to 4096 layers"),
    setting("num_hidden_layers", 100_000, says: "expected 1 to 4096 layers"),
    setting(
      "num_hidden_layers", 3, says: "model.layers.2.block_sparse_moe.gate.weight: no such tensor"),
    setting("num_local_experts", 4, says: "expected [4, 64]"),
    setting("num_local_experts", -8, says: "num_local_experts: is -8"),
    setting("num_experts_per_tok", 0, says: "expected 1 to 8, the number of experts"),
    setting("num_experts_per_tok", 9, says: "is 9 for layer 0, expected 1 to 8"),
    setting("intermediate_size", 48, says: "by hidden size 64 and expert width 48"),
    setting("mlp_only_layers", [0], says: "layer 0 has a router, but", .qwen3),
    setting("decoder_sparse_step", 3, says: "makes all 2 layers dense", .qwen3),
    setting("norm_topk_prob", "yes", says: "expected true or false", .qwen3),
    setting("n_group", 3, says: "does not divide the 16 experts", .deepseek),
    setting("topk_group", 5, says: "expected 1 to 4 groups", .deepseek),
    setting("topk_group", 0, says: "expected 1 to 4 groups", .deepseek),
    setting("num_experts_per_tok", 12, says: "only 8 experts can be chosen from", .deepseek),
    setting("routed_scaling_factor", 0, says: "expected a scale above 0", .deepseek),
    setting(
      "first_k_dense_replace", 0,
      says: "model.layers.0.mlp.gate.weight: no such tensor", .deepseek),
    setting("first_k_dense_replace", 2, says: "layer 1 has a router, but", .deepseek),
    Refusal("prototype form of another version", says: "regate.version: is 3, expected 4") {
      $0["model_type"] = "regate_mixtral"
      $0["regate"] = ["version": 3, "base_model_type": "mixtral"]
    },
    Refusal("prototype form without a base", says: "regate.base_model_type: the key is absent") {
      $0["model_type"] = "regate_mixtral"
      $0["regate"] = ["version": 4]
    },
    Refusal(
      "prototype configuration over a stock gate",
      says: "expected [64, 1], [hidden size, latent size]"
    ) {
      $0["model_type"] = "regate_mixtral"
      $0["regate"] = [
        "version": 4, "base_model_type": "mixtral", "encoder": "linear", "similarity": "dot",
      ]
    },
  ]

  private static let gate = "model.layers.1.block_sparse_moe.gate.weight"
  private static let expert = "model.layers.1.block_sparse_moe.experts.5.w2.weight"

  static let tensors = [
    Refusal("no router", says: "\(gate): no such tensor", renaming: (gate, "")),
    Refusal("expert missing", says: "\(expert): no such tensor", renaming: (expert, "")),
    Refusal(
      "expert too many", says: "is expert number 8, but the configuration has 8 experts",
      renaming: (expert, expert.replacing("experts.5", with: "experts.8"))),
    Refusal(
      "quantised router", says: "the router is quantised",
      renaming: (gate, gate.replacing(".weight", with: ".scales"))),
    Refusal(
      "bias in one layer only", says: "no such tensor, but other layers have one", .deepseek,
      renaming: ("model.layers.2.mlp.gate.e_score_correction_bias", "")),
  ]

  func build(in directory: TemporaryDirectory) throws -> String {
    let model = SyntheticModel(family, tokens: 8)
    let folder = directory.url.appending(path: "model")
    try model.writeSafetensors(layout, to: folder, renaming: renamed, change: config)
    return folder.path(percentEncoded: false)
  }
}

@Test(arguments: Refusal.all)
func `models that cannot be`(_ refusal: Refusal) throws {
  let directory = try TemporaryDirectory()
  let path = try refusal.build(in: directory)
  let before = try fileTree(directory.url)
  requireRefusal(
    try Tool.run("inspect", path), naming: path, says: refusal.fragment, refusal.name)
  #expect(try fileTree(directory.url) == before)
}

@Test func `a file that is no checkpoint`() throws {
  let directory = try TemporaryDirectory()
  let missing = directory.path("absent")
  requireRefusal(
    try Tool.run("inspect", missing), naming: missing, says: "no such file or directory", "absent")
  try directory.write(Array("hello".utf8), to: "notes.txt")
  requireRefusal(
    try Tool.run("inspect", directory.path("notes.txt")), naming: directory.path("notes.txt"),
    says: "header", "text file")
  try FileManager.default.createDirectory(
    atPath: directory.path("folder.gguf"), withIntermediateDirectories: false)
  requireRefusal(
    try Tool.run("inspect", directory.path("folder.gguf")), naming: directory.path("folder.gguf"),
    says: "is not a regular file", "folder")
}

@Test func `weights without a configuration`() throws {
  let bench = try Bench(.mixtral, .init(.single))
  try FileManager.default.removeItem(atPath: bench.path("source/config.json"))
  requireRefusal(
    try Tool.run("inspect", bench.source), naming: bench.path("source/config.json"),
    says: "there is no config.json", "directory")
}

/// `--imatrix` is `--counts` by the name of what llama.cpp writes.
@Test func `an importance matrix of another model`() throws {
  let bench = try Bench(gguf: .init(.f16), .qwen3)
  let imatrix = fixtures.appending(path: "gguf/tiny.imatrix.gguf").path(percentEncoded: false)
  requireRefusal(
    try Tool.run("inspect", bench.source, "--counts", imatrix), naming: imatrix,
    says: "blk.0: no expert counts for this layer", "imatrix")
  requireRefusal(
    try Tool.run("inspect", bench.source, "--imatrix", bench.source), naming: bench.source,
    says: "general.type: is missing, expected imatrix", "a model as an imatrix")
}
