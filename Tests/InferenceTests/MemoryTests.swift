// SPDX-License-Identifier: Apache-2.0

import Foundation
import Inference
import TestSupport
import Testing

@Suite("Memory that a pass is said to need") struct MemoryTests {
  /// Tokens at which buffers have their limits.
  private static let many = 1 << 24

  @Test(arguments: Variant.names)
  func `buffers grow with tokens up to their limit`(name: String) throws {
    let model = try Variant(name).model
    let bytes = [10, 1000, Self.many, 4 * Self.many].map {
      model.workingBytes(tokens: $0, streams: 1, threads: 1)
    }
    #expect(bytes[0] < bytes[1] && bytes[1] < bytes[2] && bytes[2] == bytes[3])
    // Two buffers of 64 MB never live at once, and these models' weights are small.
    #expect((64 << 20)..<(70 << 20) ~= bytes[3])
    #expect(model.workingBytes(tokens: 10, streams: 1, threads: 5) >= bytes[0])
  }

  @Test func `what is in files takes no memory`() throws {
    let model = try Variant("olmoe").model
    let row = 4 * model.hiddenSize
    let few = 1000
    #expect(model.stateBytes(tokens: few, streams: 3, copies: 2) == 3 * 3 * few * row)
    let above = (64 << 20) / row + 1
    #expect(model.stateBytes(tokens: above, streams: 1, copies: 2) == above * row)
    #expect(model.stateBytes(tokens: 1 << 40, streams: 1, copies: 1) == 0)
  }

  @Test func `a quantised expert is counted as it is multiplied`() throws {
    let folder = fixtures.appending(path: "tiny-mixtral").path
    let stored = try Variant.model(in: folder)
    let quantised = try Variant.model(in: folder + "-data")
    func expert(_ model: InferenceModel) -> Int {
      // The second thread's expert.
      model.workingBytes(tokens: Self.many, streams: 1, threads: 2)
        - model.workingBytes(tokens: Self.many, streams: 1, threads: 1)
    }
    #expect(expert(stored) >= expert(quantised))
    #expect(expert(quantised) > 3 * 256 * 256)
  }
}
