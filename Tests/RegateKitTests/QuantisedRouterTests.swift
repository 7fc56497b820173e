// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Tensors
import TestSupport
import Testing

/// A router with scales of its own can be read, but no output could leave them beside new values.
@Suite struct QuantisedRouterTests {
  /// Gives a gate of `bench` FP8 values and a scale.
  private static func quantiseGate(_ bench: Workbench) throws -> String {
    let path = bench.sourceFolder.appending(path: "model.safetensors").path
    let checkpoint = try SafetensorsCheckpoint(path: path)
    let gate = try #require(checkpoint.tensors.keys.first { $0.hasSuffix("mlp.gate.weight") })
    var tensors: [SafetensorsWriter.Tensor] = []
    for tensor in checkpoint.tensors.values {
      let bytes = try checkpoint.withBytes(of: tensor) { [UInt8](copying: $0) }
      guard tensor.name == gate else {
        tensors.append(
          .init(name: tensor.name, type: tensor.type, shape: tensor.shape, bytes: bytes))
        continue
      }
      let codes = (0..<tensor.elementCount).map { UInt8($0 % 0x70) }
      tensors.append(.init(name: gate, type: .f8e4m3, shape: tensor.shape, bytes: codes))
      tensors.append(
        .init(
          name: gate + "_scale", type: .f32, shape: [],
          bytes: try TensorEncoder.encode([0.25], type: .f32)))
    }
    try FileManager.default.removeItem(atPath: path)
    try SafetensorsWriter.write(tensors, to: .file(path))
    return gate
  }

  @Test func `an FP8 router is inspected, and neither converted nor renumbered`() throws {
    let bench = try Workbench(Sample.qwen3F32, tokens: 192)
    let gate = try Self.quantiseGate(bench)
    _ = try Inspection.run(.init(checkpoint: bench.source))
    var draft = bench.draft
    draft.output = .checkpoint(.copy(to: bench.output("out")))
    let refusals = [
      #expect(throws: RegateError.self) { try draft.run() },
      #expect(throws: RegateError.self) {
        try PlacementRun.run(
          .init(
            checkpoint: bench.source, load: .traffic([bench.capture], .init()), ranks: [2],
            output: .checkpoint(.copy(to: bench.output("moved")))))
      },
    ]
    for error in refusals {
      #expect(error?.subject == gate)
      #expect(error?.problem.contains("the router is quantised to 8 bits") == true)
    }
  }
}
