// SPDX-License-Identifier: Apache-2.0
//
// What is called held out is seen by no plan, router or gate: other held-out tokens make the same
// bytes.

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

/// Every file of an output but those that tell figures of held-out tokens and names of sets.
private func weights(_ folder: URL) throws -> [String: Data] {
  try fileTree(folder).filter { !["regate.json", "README.md"].contains($0.key) }
}

@Suite struct HeldOutTests {
  private static let model = TinyModel.qwen3
  /// Sequences 7 and 15 of 16 are held out.
  private static let count = 16

  private func sequences() throws -> [[Int]] {
    let array = try ArrayContainer.open(Self.model.ids("calibration")).arrays.values[0]
    let ids = try array.integers()
    return stride(from: 0, to: ids.count / 16, by: 1).map { Array(ids[16 * $0..<16 * ($0 + 1)]) }
  }

  private func convert(
    _ sequences: [[Int]], _ form: RouterForm, in folder: TemporaryDirectory, _ name: String
  ) throws -> (tensors: [String: [UInt8]], figures: JSONValue) {
    let ids = try folder.writeIDs(sequences, to: name + ".npy")
    var draft = ConversionDraft(Self.model.path, calibration: [ids], to: folder.path(name))
    draft.form = form
    draft.settings.refinementSteps = 10
    let result = try draft.run()
    return (
      try PlainCheckpoint(safetensors: folder.url.appending(path: name)).tensors
        .mapValues(\.bytes),
      try #require(result.json["held_out"])
    )
  }

  @Test(arguments: [RouterForm.lpr, .stock])
  func `other held-out sequences make the same bytes, and other figures`(_ form: RouterForm)
    throws
  {
    let folder = try TemporaryDirectory()
    let all = try sequences()
    let first = Array(all[..<Self.count])
    let plain = try convert(first, form, in: folder, "plain")

    var judged = first
    for (place, other) in zip([7, 15], all[Self.count...]) { judged[place] = other }
    let other = try convert(judged, form, in: folder, "judged")
    #expect(other.tensors == plain.tensors && plain.tensors.count > 100)
    #expect(other.figures != plain.figures)

    // One token of any other sequence is seen.
    var fitted = first
    fitted[6][10] = (fitted[6][10] + 1) % TinyModel.vocabulary
    #expect(try convert(fitted, form, in: folder, "fitted").tensors != plain.tensors)
  }

  @Test(arguments: [RouterForm.lpr, .stock])
  func `other held-out runs of a capture make the same bytes`(_ form: RouterForm) throws {
    let bench = try Workbench(.mixtral, tokens: 640)
    func convert(_ name: String, replacing rows: Range<Int>) throws -> [String: Data] {
      var model = bench.model
      for place in model.layers.indices {
        for row in rows {
          for column in 0..<model.hidden {
            model.layers[place].inputs[row * model.hidden + column] =
              bench.model.layers[place].inputs[(row - rows.lowerBound) * model.hidden + column]
          }
        }
      }
      // The name is that of the set.
      let folder = bench.folder(name + "-traffic")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      let capture = try model.writeCapture(to: folder)
      try bench.convert(to: name) {
        $0.sets.files = [capture]
        $0.form = form
        $0.settings.refinementSteps = 10
      }
      return try weights(bench.folder(name))
    }
    // Runs of 640 / 16 tokens, of which every eighth is held out: 280..<320 and 600..<640.
    let plain = try convert("plain", replacing: 0..<0)
    #expect(try convert("judged", replacing: 280..<320) == plain)
    #expect(try convert("last", replacing: 600..<640) == plain)
    #expect(try convert("before", replacing: 279..<280) != plain)
    #expect(try convert("after", replacing: 320..<321) != plain)
  }
}
