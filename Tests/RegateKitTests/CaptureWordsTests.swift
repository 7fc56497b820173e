// SPDX-License-Identifier: Apache-2.0
//
// What a capture says of itself must be so, and no traffic counts twice.

import Architectures
import ByteStorage
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing
import Traffic

private let sample = Sample.deepseekBF16Bias

extension Workbench {
  /// A capture of 320 tokens, in two sequences, with words of its own.
  fileprivate func capture(
    _ name: String, _ words: [String: String] = [:], tokens: Range<Int> = 0..<320,
    ids: [[Int32]]? = [Array(0..<200), Array(200..<320) + [Int32](repeating: -1, count: 80)]
  ) throws -> String {
    try model.writeCapture(
      to: directory.url, name: name, tokens: tokens, metadata: words, ids: ids)
  }

  /// Why captures are refused; nil where they are not.
  fileprivate func refusal(_ sets: CalibrationSets) throws -> RegateError? {
    do throws(RegateError) {
      _ = try TrafficSample(
        sets, for: try Model.open(source), judged: false, progress: NoProgress())
      return nil
    } catch { return error }
  }
}

@Test func `what a capture says of its rows is held against them`() throws {
  let bench = try Workbench(sample, tokens: 640)
  let right = try bench.capture("right", ["tokens": "320", "sequences": "2"])
  #expect(try bench.refusal(.init([right])) == nil)
  // What libraries that write safetensors say of themselves.
  #expect(try bench.refusal(.init([bench.capture("torch", ["format": "pt"])])) == nil)
  for (key, value, problem) in [
    ("format", "regate.capture.v2", "is regate.capture.v2, expected regate.capture.v1"),
    ("tokens", "319", "is 319, but there are 320 rows"),
    ("tokens", "0320", "is 0320, but there are 320 rows"),
    ("sequences", "3", "is 3, but there are 2 rows of token_ids"),
  ] {
    let path = try bench.capture("wrong", [key: value])
    let error = try bench.refusal(.init([path]))
    #expect(error?.file == path && error?.subject == key, "\(key) \(value)")
    #expect(error?.problem == problem)
  }
  for (ids, problem) in [
    ([Array(0..<319)], "holds 319 ids beside the padding, but the layers have 320 rows"),
    ([Array(0..<321)], "holds 321 ids beside the padding, but the layers have 320 rows"),
    ([Array(-2..<320)], "holds -2, expected ids from 0 on, and -1 for padding"),
  ] as [([[Int32]], String)] {
    let error = try bench.refusal(.init([bench.capture("ids", ids: ids)]))
    #expect(error?.subject == "token_ids" && error?.problem == problem)
  }
}

@Test func `the same traffic is refused where it would count twice`() throws {
  let bench = try Workbench(sample, tokens: 640)
  let first = try bench.capture("first")
  let other = try bench.capture("other", tokens: 320..<640, ids: [Array(320..<640)])
  #expect(try bench.refusal(.init([first, other])) == nil)
  // The same ids, whatever else differs.
  let again = try bench.capture("again", ["source": "elsewhere"], tokens: 320..<640)
  let plain = try bench.capture("plain", ids: nil)
  let copy = try bench.capture("copy", ids: nil)
  for (given, problem) in [
    ([first, other, first], "is given twice, and its tokens would count twice"),
    (
      [first, other, again],
      "captures the same tokens as \(first), and they would count twice"
    ),
    ([plain, copy], "captures the same tokens as \(plain), and they would count twice"),
  ] {
    let error = try bench.refusal(.init(given))
    #expect(error?.code == .refused && error?.file == given.last && error?.problem == problem)
    // Each file a set of its own.
    let weights = [Double](repeating: 1, count: given.count)
    #expect(try bench.refusal(.init(given, weights: weights))?.problem == problem)
  }
  #expect(try bench.refusal(.init([other], protected: [first, first]))?.file == first)
  // What is fitted to may be protected.
  #expect(try bench.refusal(.init([first, other], protected: [first])) == nil)
}

@Test func `parts whose ids are not those that were chosen are refused`() throws {
  let model = TinyModel.qwen3
  let folder = try TemporaryDirectory()
  let parts = try (1...2).map { number in
    try CaptureRun.run(
      .init(
        checkpoint: model.path, calibration: [model.ids("calibration")],
        output: folder.path("\(number).safetensors"), tokens: .init(maxTokens: 300, seed: 3),
        part: CapturePart(number, of: 2), threads: 2)
    ).output
  }
  func refusal() -> RegateError? {
    do throws(RegateError) {
      _ = try Inspection.run(
        .init(checkpoint: model.path, load: .traffic(parts, .init()), threads: 2))
      return nil
    } catch { return error }
  }
  #expect(refusal() == nil)
  var bytes = [UInt8](try Data(contentsOf: URL(filePath: parts[1])))
  let header = bytes[..<8].enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
  // The lowest byte of the part's first id.
  bytes[8 + header] ^= 1
  try Data(bytes).write(to: URL(filePath: parts[1]))
  let error = refusal()
  #expect(error?.file == parts[0] && error?.subject == "choice")
  #expect(error?.problem.contains("but the token ids of all parts have") == true)
}

@Test func `hidden files in a folder of captures are skipped`() throws {
  let bench = try Workbench(sample, tokens: 640)
  let folder = bench.directory.path("captures")
  try FileManager.default.createDirectory(
    at: bench.folder("captures"), withIntermediateDirectories: true)
  _ = try bench.model.writeCapture(to: bench.folder("captures"), name: "1", tokens: 0..<64)
  try Data("no capture".utf8).write(to: URL(filePath: folder + "/._1.safetensors"))
  #expect(try bench.refusal(.init([folder])) == nil)
}
