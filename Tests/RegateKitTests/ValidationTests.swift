// SPDX-License-Identifier: Apache-2.0

import Architectures
import Checkpoints
import Foundation
import Measures
import OrderedCollections
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

private func isClose(_ a: Double?, _ b: Double, within tolerance: Double = 1e-4) -> Bool {
  guard let a else { return false }
  return abs(a - b) <= tolerance * max(abs(a), abs(b), 1e-9)
}

/// Figures of one layer by the definitions.
private struct NaiveFigures {
  let overlap: Double
  let duplicates: Double
  let outputError: Double
  /// ||y' - y|| / ||y|| of each token.
  let tokenErrors: [Double]

  init(
    _ model: SyntheticModel, _ layer: SyntheticModel.Layer, original: NaiveRouting,
    patched: NaiveRouting, map: [Int]
  ) {
    let before = original.logicalExperts(Array(0..<model.experts))
    let after = patched.logicalExperts(map)
    var shared = 0
    var distinct = 0
    var difference = 0.0
    var norm = 0.0
    var tokenErrors: [Double] = []
    for token in before.indices {
      shared += Set(before[token].keys).intersection(after[token].keys).count
      distinct += after[token].count
      let old = naiveOutput(model, layer, token: token, weights: before[token])
      let new = naiveOutput(model, layer, token: token, weights: after[token])
      let ownDifference = zip(old, new).reduce(0) { $0 + ($1.1 - $1.0) * ($1.1 - $1.0) }
      let ownNorm = old.reduce(0) { $0 + $1 * $1 }
      difference += ownDifference
      norm += ownNorm
      tokenErrors.append((ownDifference / ownNorm).squareRoot())
    }
    self.tokenErrors = tokenErrors
    let assignments = Double(before.count * model.topK)
    overlap = Double(shared) / assignments
    duplicates = 1 - Double(distinct) / assignments
    outputError = (difference / norm).squareRoot()
  }
}

extension Workbench {
  /// The figures must be those of routers that were known beforehand.
  fileprivate func requireFigures(_ validation: Validation, of known: KnownConversion) throws {
    try requireFigures(
      validation,
      patched: {
        naiveRoute(
          model, model.layers[$0], gate: known.stock.gates[$0], bias: known.stock.biases[$0])
      }, maps: known.maps)
  }

  fileprivate func requireFigures(
    _ validation: Validation, patched: (Int) throws -> NaiveRouting, maps: [[Int]]
  ) throws {
    #expect(validation.tokens == model.tokens)
    #expect(validation.layers.map(\.index) == model.layers.map(\.index))
    for (place, layer) in model.layers.enumerated() {
      let report = validation.layers[place]
      let before = naiveRoute(model, layer)
      let after = try patched(place)
      #expect(report.original.load == before.load(model.experts))
      #expect(report.patched.load == after.load(model.experts))
      #expect(isClose(report.original.metrics.gini, gini(before.load(model.experts))))
      let load = after.load(model.experts)
      #expect(isClose(report.patched.metrics.gini, gini(load)))
      #expect(
        isClose(
          report.patched.metrics.minOverMax, Double(load.min() ?? 0) / Double(load.max() ?? 0)))
      let figures = NaiveFigures(model, layer, original: before, patched: after, map: maps[place])
      #expect(isClose(report.agreement.overlap, figures.overlap))
      #expect(abs(report.agreement.duplicateRate - figures.duplicates) < 1e-9)
      // Q8_0 experts are multiplied in 8 bits, and the naive ones in full.
      #expect(isClose(report.outputError, figures.outputError, within: 2e-3))
      let worst = try #require(report.worstToken)
      let largest = try #require(figures.tokenErrors.max())
      #expect(isClose(worst.value, largest, within: 1e-2))
      #expect(isClose(figures.tokenErrors[worst.position], largest, within: 1e-2))
      #expect(worst.sequence == nil && capture.hasSuffix("/" + worst.set))
      #expect(report.logicalExperts == Set(maps[place]).count)
    }
  }
}

private let stockSamples = [
  Sample.mixtralByLayer, .mixtralFused, .qwen3FP8, .deepseekFP8, .ggufMixtralSplit, .ggufQwen3F16,
  .ggufDeepseek,
]

@Test(arguments: stockSamples)
func `validation of a stock output agrees with brute force`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 400)
  let known = try bench.convertKnown(to: "out")
  try bench.requireFigures(try bench.validate("out"), of: known)
}

@Test(arguments: [Sample.mixtral, Sample.qwen3Fused, Sample.deepseekFP8])
func `validation of a prototype output agrees with brute force`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 400)
  try bench.convert(to: "out")
  let patched = try Model.open(bench.directory.path("out"))
  let validation = try bench.validate("out")
  try bench.requireFigures(
    validation,
    patched: { place in
      let layer = bench.model.layers[place]
      let routes = try patched.router(of: patched.layout.layers[place]).router.route(
        Matrix(rows: bench.model.tokens, columns: bench.model.hidden, values: layer.inputs),
        threads: 1)
      return NaiveRouting(
        choices: (0..<routes.tokens).map { token in
          (0..<routes.topK).map { rank in
            let entry = token * routes.topK + rank
            return (Int(routes.experts[entry]), Double(routes.weights[entry]))
          }
        })
    }, maps: bench.claimedMaps("out"))
}

@Test func `an output against itself has no error and full overlap`() throws {
  let bench = try Workbench(Sample.qwen3, tokens: 300)
  let validation = try bench.validate("source")
  for layer in validation.layers {
    #expect(layer.outputError == 0 && layer.worstToken == nil)
    #expect(layer.agreement.overlap == 1)
    #expect(layer.agreement.divergence < 1e-12)
    #expect(layer.logicalExperts == bench.model.experts)
  }
}

/// One pass serves both: a patched model with other weights elsewhere would be told the original's
/// figures.
@Test(arguments: [Sample.qwen3Scattered, .deepseekFP8, .ggufMixtralSplit])
func `a patched checkpoint with other weights elsewhere is refused`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 300)
  try bench.convert(to: "out")
  let checkpoint = try Model.open(bench.first("out")).checkpoint
  let tensor = try #require(
    checkpoint.tensors.values.first { tensor in
      if case .other = bench.model.part(tensor.name) { !tensor.range.isEmpty } else { false }
    })
  let file = try FileHandle(
    forUpdating: URL(filePath: checkpoint.files[tensor.file].path))
  try file.seek(toOffset: UInt64(tensor.range.upperBound - 1))
  let last = try #require(try file.read(upToCount: 1))
  try file.seek(toOffset: UInt64(tensor.range.upperBound - 1))
  try file.write(contentsOf: Data([last[0] ^ 1]))
  try file.close()
  let error = #expect(throws: RegateError.self) { try bench.validate("out") }
  #expect(error?.subject == tensor.name && error?.problem.hasPrefix("has other values") == true)
}

@Test func `a key that the patched configuration has otherwise is named`() throws {
  let bench = try Workbench(Sample.qwen3, tokens: 300)
  try bench.convert(to: "out")
  let path = bench.directory.path("out/config.json")
  var config = try JSONValue(contentsOf: path)
  config["rms_norm_eps"] = .number(1)
  try Data(config.serialised(.pretty)).write(to: URL(filePath: path))
  let warnings = Warnings()
  _ = try Validation.run(
    .init(
      original: bench.source, patched: bench.first("out"), calibration: [bench.capture],
      threads: 2), progress: warnings)
  #expect(warnings.all.count { $0.contains("config.json: rms_norm_eps is 1.0, but") } == 1)
}

@Test(arguments: SyntheticModel.Family.allCases)
func `of a configuration that a conversion wrote nothing is named`(
  _ family: SyntheticModel.Family
) throws {
  let bench = try Workbench(Sample(family, .directory(.init(.scattered))), tokens: 300)
  try bench.convert(to: "out")
  let warnings = Warnings()
  _ = try Validation.run(
    .init(
      original: bench.source, patched: bench.first("out"), calibration: [bench.capture],
      threads: 2), progress: warnings)
  #expect(warnings.all.allSatisfy { !$0.contains("config.json") }, "\(warnings.all)")
}

@Test func `a key of GGUF metadata that the patched file has otherwise is named`() throws {
  let bench = try Workbench(Sample.ggufQwen3, tokens: 300)
  try bench.convert(to: "out")
  let file = try GGUFFile(path: bench.first("out"))
  var header = GGUFHeader(file)
  let key = "qwen3moe.feed_forward_length"
  #expect(header.metadata[key] != nil)
  header.metadata[key] = .uint32(7)
  try header.alignData(with: file.dataStart, file: nil)
  let bytes =
    try header.encoded(file: nil).bytes + file.file.bytes(in: file.dataStart..<file.file.count)
  try Data(bytes).write(to: URL(filePath: bench.first("out")))
  let warnings = Warnings()
  let surplus = try FileHandle(forUpdating: URL(filePath: bench.first("out")))
  try surplus.seekToEnd()
  try surplus.write(contentsOf: Data(count: 1000))
  try surplus.close()
  let validation = try Validation.run(
    .init(
      original: bench.source, patched: bench.first("out"), calibration: [bench.capture],
      threads: 2), progress: warnings)
  #expect(warnings.all.count { $0.contains("\(key) is not what the original has") } == 1)
  #expect(warnings.all.count { $0.contains("is not what the original has") } == 1)
  // What the patched file alone has is said of it.
  #expect(validation.warnings.count { $0.contains("goes on for 1000 bytes") } == 1)
}

@Test(arguments: ["missing", "lying"])
func `logical experts are told by bytes whatever the manifest says`(_ manifest: String) throws {
  let bench = try Workbench(Sample.qwen3Scattered, tokens: 300)
  let known = try bench.convertKnown(to: "out")
  let path = bench.directory.path("out/regate.json")
  if manifest == "missing" {
    try FileManager.default.removeItem(atPath: path)
  } else {
    var json = try JSONValue(contentsOf: path)
    let none = JSONValue.array((0..<bench.model.experts).map { .integer($0) })
    json["layers"] = .array((0..<2).map { ["index": .integer($0), "physical_to_logical": none] })
    try Data(json.serialised(.compact)).write(to: URL(filePath: path))
  }
  try bench.requireFigures(try bench.validate("out"), of: known)
}

@Test(arguments: SyntheticModel.Family.allCases)
func `a renumbered model is the same model`(_ family: SyntheticModel.Family) throws {
  // A seed for which no token has two equal scores: ties depend on the numbering.
  let bench = try Workbench(
    Sample(family, .directory(.init(.scattered))), seed: 4, tokens: 300)
  var renumbered = bench.model
  // Groups stay whole: the order is reversed, groups included.
  let order = Array((0..<bench.model.experts).reversed())
  for place in renumbered.layers.indices {
    let layer = bench.model.layers[place]
    let width = bench.model.hidden
    renumbered.layers[place].experts = order.map { layer.experts[$0] }
    renumbered.layers[place].gate = order.flatMap { layer.gate[$0 * width..<($0 + 1) * width] }
    renumbered.layers[place].bias = layer.bias.map { bias in order.map { bias[$0] } }
  }
  try renumbered.writeSafetensors(.init(.scattered), to: bench.folder("renumbered"))
  let validation = try bench.validate("renumbered")
  for layer in validation.layers {
    #expect(layer.agreement.overlap == 1)
    #expect(try #require(layer.outputError) < 1e-6)
    #expect(layer.logicalExperts == bench.model.experts)
    #expect(layer.patched.load == layer.original.load.reversed())
  }
}

@Test func `the worst token is named by where it stands`() throws {
  let folder = try TemporaryDirectory()
  let model = TinyModel.qwen3
  var draft = ConversionDraft(
    model.path, calibration: [model.ids("calibration")], to: folder.path("out"))
  draft.form = .stock
  draft.sets.tokens = .init(length: 64, maxTokens: 1024)
  _ = try draft.run()
  func validate(_ ids: [String]) throws -> Validation {
    try Validation.run(
      .init(original: model.path, patched: folder.path("out"), calibration: ids, threads: 2))
  }
  let whole = try validate([model.ids("calibration"), model.ids("heldout")])
  let worst = try #require(whole.layers[0].worstToken)
  #expect(try worst.value > #require(whole.layers[0].outputError))
  let name = try #require(["calibration", "heldout"].first { worst.set == "\($0).npy" })
  let sequence = try #require(worst.sequence)
  let ids = try ArrayContainer.open(model.ids(name)).arrays.values[0].integers()
  let alone = Array(ids[64 * sequence..<64 * (sequence + 1)])
  let found = try validate([try folder.writeIDs([alone], to: "alone.npy")]).layers[0].worstToken
  #expect(isClose(found?.value, worst.value))
  #expect(found?.set == "alone.npy" && found?.sequence == 0 && found?.position == worst.position)
  let last = try #require(
    whole.layers.compactMap(\.worstToken).max { $0.value < $1.value })
  #expect(whole.text.contains("\(last.set), sequence \(last.sequence ?? -1), position"))
  #expect(isClose(whole.json["worst"]?["worst_token_error"]?.doubleValue, last.value))
  #expect(
    whole.json["layers"]?.arrayValue?[0]["worst_token"]?["position"]?.intValue == worst.position)
}

@Test func `percentiles over layers are the nearest rank from the best`() {
  let values = (1...20).map { Double($0 * 8 % 21) } + [nil]
  let loss = LayerStatistics(values, largestIsWorst: true)
  #expect([loss.p50, loss.p75, loss.p90, loss.p95, loss.worst] == [10, 15, 18, 19, 20])
  let share = LayerStatistics(values, largestIsWorst: false)
  #expect([share.p50, share.p75, share.p90, share.p95, share.worst] == [11, 6, 3, 2, 1])
  let one = LayerStatistics([0.5], largestIsWorst: true)
  #expect(one.p50 == 0.5 && one.p95 == 0.5)
  #expect(LayerStatistics([nil], largestIsWorst: true).p50 == nil)
}
