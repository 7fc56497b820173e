// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

/// The files of a sample that was converted with so many threads.
private func outputs(
  _ bench: Workbench, _ form: RouterForm, threads: [Int]
) throws -> [[String: Data]] {
  try threads.enumerated().map { number, threads in
    try bench.convert(to: "out-\(number)") {
      $0.form = form
      $0.threads = threads
    }
    return try fileTree(bench.folder("out-\(number)"))
  }
}

@Test(arguments: [Sample.safetensors[3], Sample.safetensors[7], Sample.safetensors[11]])
func `prototype outputs do not depend on the number of threads`(_ sample: Sample) throws {
  let trees = try outputs(try Workbench(sample), .lpr, threads: [1, 2, 3, 1])
  for tree in trees { #expect(tree == trees[0]) }
}

@Test(arguments: [Sample.safetensors[11], Sample.gguf[0]])
func `stock outputs do not depend on the number of threads`(_ sample: Sample) throws {
  let trees = try outputs(try Workbench(sample, tokens: 192), .stock, threads: [1, 2, 3])
  for tree in trees { #expect(tree == trees[0]) }
}

/// The held-out Gini and the strength of a conversion.
private func outcome(_ result: Conversion.Result) throws -> (gini: Double, strength: Double) {
  (
    try #require(result.json["held_out_gini"]?.doubleValue),
    try #require(result.json["strength"]?.doubleValue)
  )
}

/// Strength and Gini of each point of a sweep, without strength 0.
private func curve(_ bench: Workbench) throws -> [(strength: Double, gini: Double)] {
  let sweep = try Sweep.run(.init(bench.request), progress: Silent())
  return try #require(sweep.json["points"]?.arrayValue).dropFirst().map {
    (try #require($0["strength"]?.doubleValue), try #require($0["gini"]?.doubleValue))
  }
}

@Test(arguments: [Sample.safetensors[6], Sample.safetensors[11]])
func `a target takes the least strength that meets it`(_ sample: Sample) throws {
  let bench = try Workbench(sample)
  let curve = try curve(bench)
  let (weak, strong) = (try #require(curve.first), try #require(curve.last))
  try #require(strong.gini < weak.gini)
  let target = (weak.gini + strong.gini) / 2
  let (reached, strength) = try outcome(
    bench.convert(to: "out") { $0.balance = .targetGini(target) })
  #expect(reached <= target)
  let expected = try #require(curve.first { $0.gini <= target })
  #expect(strength == expected.strength && reached == expected.gini)
  #expect(strength > weak.strength)
  #expect(try bench.manifest("out")["options"]?["target_gini"]?.doubleValue == target)
  #expect(try bench.manifest("out")["figures"]?["strength"]?.doubleValue == strength)
}

@Test func `a target out of reach writes nothing`() throws {
  let bench = try Workbench(Sample.safetensors[6])
  let before = try fileTree(bench.directory.url)
  let error = #expect(throws: RegateError.self) {
    try bench.convert(to: "out") {
      $0.balance = .targetGini(0)
      $0.saveFit = bench.directory.path("fit.safetensors")
    }
  }
  #expect(error?.code == .unreached)
  #expect(error?.problem.contains("at strength") == true)
  #expect(try fileTree(bench.directory.url) == before)
}

@Test func `a target for a GGUF is about the stock router`() throws {
  let bench = try Workbench(Sample.gguf[0], tokens: 256)
  let error = #expect(throws: RegateError.self) {
    try bench.convert(to: "out") { $0.balance = .targetGini(0) }
  }
  let match = try #require(
    error?.problem.firstMatch(of: /held-out Gini of ([0-9.e-]+) at strength ([0-9.]+)/))
  let strength = try #require(Double(match.2))
  let point = try #require(try curve(bench).first { $0.strength == strength })
  #expect(abs(point.gini - (Double(match.1) ?? 1)) < 1e-4)
}
