// SPDX-License-Identifier: Apache-2.0
//
// The examples of the library's documentation, which compile here.

import Foundation
import RegateKit
import Testing

/// Compiled, not run.
private enum Examples {
  static func inspection() throws {
    let inspection = try Inspection.run(
      .init(checkpoint: "Qwen3-30B-A3B", load: .traffic(["heldout.jsonl"], .init()), ranks: [8]))
    print(inspection.text)
  }

  static func fit() throws {
    let traffic = CalibrationSets(["traffic.jsonl"], tokens: TokenOptions(maxTokens: 32768))
    let made = try FitRun.run(
      .init(checkpoint: "Qwen3-30B-A3B", calibration: traffic, budget: .maxLossIncrease(0.01)))
    print(made.fit.point?.gini ?? 1)
    try made.fit.write(to: "my.fit")

    let copy = try Conversion.run(
      .init(
        checkpoint: "Qwen3-30B-A3B", source: .fit(made.fit),
        output: .checkpoint(.copy(to: "balanced"))))
    print(copy.text)
    let delta = try Conversion.run(
      .init(
        checkpoint: "Qwen3-30B-A3B-Q4_K_M.gguf", source: .file("my.fit"),
        output: .checkpoint(.delta(to: "balanced.delta"))))
    print(delta.text)
  }
}

@Test func `every example of the documentation is compiled here`() throws {
  let file = URL(filePath: #filePath)
  let catalogue = file.deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Sources/RegateKit/RegateKit.docc")
  let compiled = try String(contentsOf: file, encoding: .utf8).filter { !$0.isWhitespace }
  var examples = 0
  for name in try FileManager.default.contentsOfDirectory(
    atPath: catalogue.path(percentEncoded: false)) where name.hasSuffix(".md")
  {
    let page = try String(contentsOf: catalogue.appending(path: name), encoding: .utf8)
    for block in page.components(separatedBy: "```swift\n").dropFirst() {
      let code = block.components(separatedBy: "```")[0]
      #expect(compiled.contains(code.filter { !$0.isWhitespace }), "\(name): \(code)")
      examples += 1
    }
  }
  #expect(examples >= 2)
}
