// SPDX-License-Identifier: Apache-2.0
//
// Outputs of conversions that are renumbered, and renumbered models that are converted.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

/// Outputs of conversions: a prototype router with and without groups, and stock ones. None is
/// multiplied in 8 bits, where another order of sums can turn a tie.
private let converted = [
  (Sample.mixtralByLayer, RouterForm.lpr), (.deepseek, .lpr), (.mixtralByLayer, .stock),
  (.ggufQwen3F16, .stock),
]

@Test(arguments: converted)
func `an output of a conversion is renumbered and routes to the same experts`(
  _ sample: Sample, _ form: RouterForm
) throws {
  let bench = try Workbench(sample, tokens: 512)
  let plain = try bench.convert(to: "plain") {
    $0.form = form
    $0.settings.refinementSteps = 100
    // What is even already is not renumbered.
    $0.budget = .strength(0.7)
  }
  try bench.place("plain", to: "placed")
  if form == .lpr {
    let error = #expect(throws: RegateError.self) {
      try PlacementRun.run(
        .init(
          checkpoint: bench.output("plain"), load: .traffic([bench.capture], .init()), ranks: [2],
          output: .map(.sglang, to: bench.directory.path("map.json"))))
    }
    #expect(error?.description.contains("Transformers backend") == true)
    #expect(!FileManager.default.fileExists(atPath: bench.directory.path("map.json")))
  }
  let placements = try bench.placements("placed")
  #expect(placements.count == bench.model.layers.count)
  #expect(placements.allSatisfy { $0 != $0.sorted() && Set($0).count == bench.model.experts })
  let maps = try bench.claimedMaps("plain")
  try bench.requireSameButRouters(
    "placed", maps: zip(maps, placements).map { map, order in order.map { map[$0] } })
  // A prototype router knows logical experts by number: only what has a row for each physical one
  // moves.
  if plain.form == .lpr {
    let (before, after) = (try bench.weights("plain").tensors, try bench.weights("placed").tensors)
    let changed = after.filter { $0.value.bytes != before[$0.key]?.bytes }.keys.filter {
      if case .router = bench.model.part($0) { true } else { false }
    }
    let rows: Set = ["physical_to_logical", "clone_prototypes", "clone_bias"]
    #expect(Set(changed.map { String($0.split(separator: ".").last ?? "") }) == rows)
  }
  // The same tokens go to the same experts: validation cannot tell the two apart but by load.
  let pairs = zip(try bench.validate("plain").layers, try bench.validate("placed").layers)
  for ((a, b), placement) in zip(pairs, placements) {
    #expect(a.agreement.overlap == b.agreement.overlap)
    #expect(a.agreement.duplicateRate == b.agreement.duplicateRate)
    #expect(placement.map { a.patched.load[$0] } == b.patched.load)
  }
}

@Test(arguments: [Sample.mixtralByLayer, .deepseek])
func `a prototype output is renumbered in place and by a delta`(_ sample: Sample) throws {
  let bench = try Workbench.converted(sample).copy()
  try bench.place("out", to: "placed")
  let delta = bench.directory.path("place.delta")
  try bench.place("out", to: .delta(to: delta))
  try bench.apply(delta, to: "applied", from: bench.output("out"))
  #expect(try fileTree(bench.folder("applied")) == fileTree(bench.folder("placed")))

  let before = try fileTree(bench.folder("out"))
  try bench.place("out", to: .inPlace)
  // What the output said of itself comes back when the change is taken back.
  #expect(try fileTree(bench.folder("out"))["regate.json"] != before["regate.json"])
  let (inPlace, placed) = (try bench.weights("out"), try bench.weights("placed"))
  #expect(Set(inPlace.tensors.keys) == Set(placed.tensors.keys))
  for (name, tensor) in placed.tensors {
    #expect(inPlace.tensors[name]?.bytes == tensor.bytes, "\(name)")
  }
  _ = try Reversion.run(.init(checkpoint: bench.output("out"), threads: 2))
  #expect(try fileTree(bench.folder("out")) == before)
}

@Test(arguments: [Sample.mixtralByLayer, .ggufQwen3])
func `what a conversion says of itself is still said when its output is renumbered`(
  _ sample: Sample
) throws {
  let bench = try Workbench.converted(sample).copy()
  let before = try bench.manifest("out")
  try bench.place("out", to: "placed")
  let after = try bench.manifest("placed")
  #expect(after["before"] == before && before["before"] == nil)
  #expect(after["router"]?.stringValue == "unchanged")
  if sample.isGGUF {
    let (old, new) = (
      try GGUFCheckpoint(path: bench.output("out")).metadata,
      try GGUFCheckpoint(path: bench.output("placed")).metadata
    )
    #expect(old.keys.contains("regate.held_out_gini"))
    for (key, value) in old where key.hasPrefix("regate.") && key != GGUFHeader.paddingKey {
      #expect(new[key] == value, "\(key)")
    }
    let text = try #require(new["regate.placement"]?.string)
    #expect(try JSONValue(parsing: Array(text.utf8), file: "")["options"] == after["options"])
  } else {
    func card(_ name: String) throws -> String {
      try String(
        contentsOf: bench.folder(name).appending(path: "README.md"), encoding: .utf8)
    }
    let (old, new) = (try card("out"), try card("placed"))
    let said = try #require(old.components(separatedBy: "<!-- regate:end -->").first)
    #expect(new.hasPrefix(said + "\n### Experts renumbered\n") && new.contains("of 4 ranks"))
    #expect(said.contains("trust_remote_code=True") && new.hasSuffix("<!-- regate:end -->\n"))
    // One that had no section gets one that says how its own form loads.
    try FileManager.default.removeItem(at: bench.folder("out").appending(path: "README.md"))
    try bench.place("out", to: "bare")
    #expect(try card("bare").contains("trust_remote_code=True"))
  }
  try bench.place("out", to: .inPlace)
  #expect(try bench.manifest("out")["before"] == before)
}

@Test func `a conversion replaces the keys of an earlier one`() throws {
  let bench = try Workbench(.ggufMixtralSplit, tokens: 640)
  try bench.place(to: "placed")
  let placed = try bench.manifest("placed")
  #expect(try GGUFCheckpoint(path: bench.first("placed")).metadata["regate.router"] == nil)
  try bench.convert(to: "out") { $0.checkpoint = bench.first("placed") }
  let keys = try GGUFCheckpoint(path: bench.first("out")).metadata
  #expect(keys["regate.router"] == .string("stock") && keys["regate.placement"] == nil)
  #expect(try bench.manifest("out")["before"] == placed)
}
