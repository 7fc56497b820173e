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
      // A step is a step: few of them show what many would.
      $0.settings.refinementSteps = 60
    }
    return try fileTree(bench.folder("out-\(number)"))
  }
}

@Test(arguments: [Sample.mixtralFused, Sample.qwen3Scattered, Sample.deepseekBF16Bias])
func `prototype outputs do not depend on the number of threads`(_ sample: Sample) throws {
  let trees = try outputs(try Workbench(sample), .lpr, threads: [1, 2, 3, 1])
  for tree in trees { #expect(tree == trees[0]) }
}

@Test(arguments: [Sample.deepseekBF16Bias, Sample.ggufMixtral])
func `stock outputs do not depend on the number of threads`(_ sample: Sample) throws {
  let trees = try outputs(try Workbench(sample, tokens: 192), .stock, threads: [1, 2, 3])
  for tree in trees { #expect(tree == trees[0]) }
}
