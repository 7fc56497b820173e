// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

private let sample = Sample.deepseekBF16Bias

@Test(arguments: [RouterForm.lpr, .stock])
func `a saved fit gives the same output as fitting`(_ form: RouterForm) throws {
  let bench = try Workbench(sample, tokens: 256)
  // Its name does not matter.
  let fit = bench.directory.path("my.fit")
  try bench.convert(to: "fitted") { $0.form = form }
  var draft = bench.draft
  draft.form = form
  let run = try draft.fit(to: fit)
  #expect(run.output == fit && run.fit.forms == [.lpr, .stock])
  try bench.convert(to: "applied") {
    $0.form = form
    $0.fit = fit
  }
  var fitted = try fileTree(bench.folder("fitted"))
  var applied = try fileTree(bench.folder("applied"))
  // They say where the fit came from.
  for name in ["regate.json", "README.md"] {
    fitted[name] = nil
    applied[name] = nil
  }
  #expect(fitted == applied)
  #expect(try bench.weights("applied").tensors != bench.weights().tensors)
}

@Test func `a fit of the BF16 model serves one whose gates are F32`() throws {
  let bench = try Workbench(sample, tokens: 192)
  let fit = try bench.stockFit().path
  var wide = bench.model
  // What rounding to BF16 would have taken away.
  for place in wide.layers.indices {
    for entry in wide.layers[place].gate.indices {
      wide.layers[place].gate[entry] *= entry % 2 == 0 ? 1.001 : 0.999
    }
  }
  try wide.writeSafetensors(.init(.byLayer, gate: .f32), to: bench.folder("wide"))
  try bench.convert(to: "out") {
    $0.checkpoint = bench.directory.path("wide")
    $0.fit = fit
  }
  #expect(try Model.open(bench.directory.path("out")).layout.hasPrototypeRouter)
}

@Test func `a fit of another model is refused`() throws {
  let bench = try Workbench(sample, tokens: 192)
  let fit = try bench.stockFit().path
  let other = try Workbench(sample, seed: 2, tokens: 64)
  let error = #expect(throws: RegateError.self) {
    try other.convert(to: "out") {
      $0.fit = fit
    }
  }
  #expect(error?.code == .mismatch)
  #expect(error?.subject == "layers.1.sketch")
  #expect(!FileManager.default.fileExists(atPath: other.directory.path("out")))

  let family = try Workbench(.qwen3, tokens: 64)
  let second = #expect(throws: RegateError.self) {
    try family.convert(to: "out") {
      $0.fit = fit
    }
  }
  #expect(second?.subject == "family")
}

@Test func `a damaged fit is refused`() throws {
  let bench = try Workbench(sample, tokens: 192)
  let fit = try HandmadeFit.prototype(bench.model, seed: bench.seed)
  let good = fit.tensors.reduce(into: [String: PlainCheckpoint.Tensor]()) {
    $0[$1.name] = PlainCheckpoint.Tensor(
      type: $1.type, shape: $1.shape, bytes: $1.bytes, file: "")
  }
  let metadata = fit.metadata

  func refusal(
    _ change: (inout [String: PlainCheckpoint.Tensor], inout [String: String]) -> Void
  ) throws -> RegateError? {
    var tensors = good
    var metadata = metadata
    change(&tensors, &metadata)
    let path = bench.directory.path("damaged.safetensors")
    try writeFitFile(
      tensors.sorted { $0.key < $1.key }.map { ($0, $1.type, $1.shape, $1.bytes) },
      metadata: metadata, to: path)
    let error = #expect(throws: RegateError.self) {
      try bench.convert(to: "out") {
        $0.fit = path
      }
    }
    #expect(!FileManager.default.fileExists(atPath: bench.directory.path("out")))
    return error
  }
  func tensor(_ tensor: PlainCheckpoint.Tensor?, shape: [Int]? = nil, bytes: [UInt8])
    -> PlainCheckpoint.Tensor?
  {
    tensor.map {
      PlainCheckpoint.Tensor(type: $0.type, shape: shape ?? $0.shape, bytes: bytes, file: $0.file)
    }
  }
  #expect(try refusal { $1["format"] = "regate.fit.v2" }?.subject == "format")
  #expect(try refusal { $1["encoder"] = nil }?.subject == "encoder, similarity")
  #expect(try refusal { $1["format"] = nil }?.subject == "format")
  for name in [
    "sketch", "physical_to_logical", "encoder", "logical_prototypes", "logit_bias",
    "selection_bias", "token_bias", "clone_prototypes", "clone_bias",
  ] {
    #expect(
      try refusal { tensors, _ in tensors["layers.2.\(name)"] = nil }?.subject == "layers.2.\(name)"
    )
    let short = try refusal { tensors, _ in
      let old = tensors["layers.2.\(name)"]
      let width = old?.type == "I64" ? 8 : 4
      tensors["layers.2.\(name)"] = tensor(
        old, shape: [3], bytes: Array((old?.bytes ?? []).prefix(3 * width)))
    }
    #expect(short?.subject == "layers.2.\(name)")
  }
  let outside = try refusal { tensors, _ in
    let old = tensors["layers.1.physical_to_logical"]
    tensors["layers.1.physical_to_logical"] = tensor(
      old, bytes: littleEndian(Int64(16)) + (old?.bytes ?? []).dropFirst(8))
  }
  #expect(outside?.subject == "layers.1.physical_to_logical")
  let more = try refusal { _, metadata in
    metadata["origin"] = metadata["origin"]?
      .replacing(#""budget":{"strength":1}"#, with: #""budget":{"pruned_experts":4}"#)
  }
  #expect(more?.description.contains("expected 12: its origin says that 4 are pruned") == true)
  let part = try refusal { _, metadata in
    metadata["layers"] = "\(Int.max),3"
    metadata["part"] = "{}"
  }
  #expect(part?.problem == "is a part of a fit, with layers \(Int.max), 3")
}

/// Every key of a JSON object and of the objects in it.
private func keys(_ value: JSONValue?) -> Set<String> {
  switch value {
  case .object(let members): Set(members.keys).union(members.values.flatMap(keys))
  case .array(let values): Set(values.flatMap(keys))
  default: []
  }
}

@Test func `a fit file's metadata has the documented keys, whatever the properties are called`()
  throws
{
  // So many that some are held out.
  let bench = try Workbench(sample, tokens: 256)
  let fit = try HandmadeFit.prototype(bench.model, seed: bench.seed)
  func object(_ name: String) throws -> JSONValue {
    try JSONValue(parsing: Array(try #require(fit.metadata[name]).utf8), file: name)
  }
  let origin = try object("origin")
  #expect(origin["budget"] == ["strength": 1])
  #expect(
    keys(origin) == [
      "budget", "calibration", "checkpoint", "clones", "encoder", "judged_form", "judging_sets",
      "layout", "mtp", "name", "protected", "refinement_steps", "role", "sample", "seed", "share",
      "similarity", "strength", "tokens", "version", "weights",
    ])
  #expect(
    keys(try object("figures.1")) == [
      "agreement", "clones", "cv", "dead_experts", "distinct_experts", "duplicate_rate",
      "explained_variance", "feasible_gini", "fitted", "gini", "held_out", "kl", "latent_size",
      "load", "max_over_mean",
      "metrics", "min_max", "normalised_entropy", "original", "output_error", "overlap", "patched",
      "prototype", "rank_stages", "sampling_floor", "sets",
    ])
}

@Test(arguments: [
  (Budget.strength(0.5), "strength"), (.targetGini(0.1), "target_gini"),
  (.maxLossIncrease(0.02), "max_loss_increase"), (.maxOutputError(0.25), "max_output_error"),
]) func `a budget is kept as an object with the name of its report`(
  _ budget: Budget, _ name: String
) throws {
  let data = try JSONEncoder().encode(budget)
  #expect(try JSONDecoder().decode([String: Double].self, from: data).keys.elementsEqual([name]))
  #expect(try JSONDecoder().decode(Budget.self, from: data) == budget)
  for wrong in ["{}", #"{"strength": 1, "target_gini": 0.1}"#, #"{"gini": 1}"#] {
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(Budget.self, from: Data(wrong.utf8))
    }
  }
}

@Test func `a fit file has the digest that the format documents`() throws {
  let bench = try Workbench(sample, tokens: 192)
  let path = bench.directory.path("my.safetensors")
  try bench.convert(to: nil) { $0.output = .checkpoint(.delta(to: bench.output("d"))) }
    .fit.write(to: path)
  let plain = try PlainCheckpoint(safetensors: URL(filePath: path))
  let metadata = try #require(plain.metadata["my.safetensors"])
  let tensors = plain.tensors.map { ($0.key, $0.value.type, $0.value.shape, $0.value.bytes) }
  #expect(metadata["sha256"] == fitDigest(tensors: tensors, metadata: metadata))
}
