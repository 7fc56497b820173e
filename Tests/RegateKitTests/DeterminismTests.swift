// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

@Test(arguments: [Sample.safetensors[3], Sample.safetensors[7], Sample.safetensors[11]])
func `outputs do not depend on the number of threads`(_ sample: Sample) throws {
  let bench = try Workbench(sample)
  var trees: [[String: Data]] = []
  for threads in [1, 2, 3, 1] {
    let fit = bench.directory.path("fit-\(trees.count).safetensors")
    try bench.convert(to: "out-\(trees.count)") {
      $0.threads = threads
      $0.saveFit = fit
    }
    var tree = try fileTree(bench.folder("out-\(trees.count)"))
    tree["fit"] = try Data(contentsOf: URL(filePath: fit))
    trees.append(tree)
  }
  for tree in trees { #expect(tree == trees[0]) }
}

/// The held-out Gini and the strength of a conversion.
private func outcome(_ result: Conversion.Result) throws -> (gini: Double, strength: Double) {
  (
    try #require(result.json["held_out_gini"]?.doubleValue),
    try #require(result.json["strength"]?.doubleValue)
  )
}

@Test(arguments: [Sample.safetensors[6], Sample.safetensors[11]])
func `a target takes the least strength that meets it`(_ sample: Sample) throws {
  let bench = try Workbench(sample)
  let (weak, _) = try outcome(bench.convert(to: nil) { $0.balance = .strength(0.25) })
  let (strong, _) = try outcome(bench.convert(to: nil))
  try #require(strong < weak)
  let target = (weak + strong) / 2
  let (reached, strength) = try outcome(bench.convert(to: "out") { $0.balance = .targetGini(target) })
  #expect(reached <= target)
  #expect(strength > 0.25 && strength < 1)
  #expect(try bench.manifest("out")["options"]?["target_gini"]?.doubleValue == target)
  #expect(try bench.manifest("out")["figures"]?["strength"]?.doubleValue == strength)
  // The step below misses it.
  let step = (0.25 / 5)
  let below = try outcome(bench.convert(to: nil) { $0.balance = .strength(strength - step) })
  #expect(below.gini > target)
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
