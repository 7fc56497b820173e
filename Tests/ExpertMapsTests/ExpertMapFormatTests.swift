// SPDX-License-Identifier: Apache-2.0
//
// What each runtime's reader makes of its file; the readers are named in the formats' files.

import ByteStorage
import Checkpoints
import ExpertMaps
import OrderedCollections
import TestSupport
import Testing

struct ExpertMapFormatTests {
  /// Two MoE layers, numbers 1 and 3 of a model of 4, for two ranks with two redundant experts.
  private static let load = [[9, 6, 1, 1], [1, 1, 6, 9]]

  private func map(apart: Bool = false) throws -> ExpertMap {
    try ExpertMap.replicating(
      .init(planned: Self.load), groups: 1, ranks: 2, machines: 1, redundant: 2, apart: apart)
  }

  private func bytes(_ format: ExpertMapFormat) throws -> [UInt8] {
    format.file.bytes(
      try map(apart: format.file.keepsReplicasApart), ranks: 2, layerCount: 4, indices: [1, 3])
  }

  private func json(_ format: ExpertMapFormat) throws -> JSONValue {
    try JSONValue(parsing: bytes(format), file: "map")
  }

  private func rows(_ value: JSONValue?) -> [[Int]] {
    (value?.arrayValue ?? []).map { ($0.arrayValue ?? []).compactMap(\.intValue) }
  }

  @Test func `SGLang's file names every layer, dense ones in order`() throws {
    let json = try json(.sglang)
    #expect(json.objectValue?.keys.elementsEqual(["physical_to_logical_map"]) == true)
    let dense = [0, 1, 2, 3, 0, 1]
    let layers = try map().layers
    #expect(rows(json["physical_to_logical_map"]) == [dense, layers[0], dense, layers[1]])
  }

  @Test func `TensorRT-LLM's file is YAML by the model's own numbers`() throws {
    let layers = try map().layers.map { $0.map(String.init).joined(separator: ", ") }
    #expect(
      String(decoding: try bytes(.tensorRTLLM), as: UTF8.self) == """
        num_slots: 6
        initial_global_assignments:
          1: [\(layers[0])]
          3: [\(layers[1])]
        layer_updates_per_iter: 0

        """)
  }

  @Test func `Ascend's file has a list for each device, and no expert twice on one`() throws {
    let json = try json(.ascend)
    #expect(json["moe_layer_count"]?.intValue == 2)
    for (number, layer) in try #require(json["layer_list"]?.arrayValue).enumerated() {
      #expect(layer["layer_id"]?.intValue == number && layer["device_count"]?.intValue == 2)
      let devices = try #require(layer["device_list"]?.arrayValue)
      let held = devices.map { ($0["device_expert"]?.arrayValue ?? []).compactMap(\.intValue) }
      #expect(devices.compactMap { $0["device_id"]?.intValue } == [0, 1])
      #expect(held.allSatisfy { $0.count == 3 && Set($0).count == 3 })
      #expect(Set(held.joined()) == Set(0..<4))
    }
  }

  @Test func `more replicas than ranks cannot be kept apart`() throws {
    let error = #expect(throws: RegateError.self) {
      try ExpertMap.replicating(
        .init(planned: [[97, 1, 1, 1]]), groups: 1, ranks: 2, machines: 1, redundant: 2, apart: true
      )
    }
    #expect(error?.description.contains("more replicas of an expert than ranks") == true)
  }

  @Test func `EPLB's arrays say the same in both directions`() throws {
    let json = try json(.eplb)
    let physical = rows(json["physical_to_logical_map"])
    #expect(physical == (try map().layers))
    let counts = rows(json["expert_count"])
    for (layer, places) in try #require(json["logical_to_physical_map"]?.arrayValue).enumerated() {
      for (expert, copies) in rows(places).enumerated() {
        #expect(copies.count == counts.joined().max())
        #expect(copies.filter { $0 >= 0 }.map { physical[layer][$0] }.allSatisfy { $0 == expert })
        #expect(copies.count { $0 >= 0 } == counts[layer][expert])
      }
    }
  }

  @Test(arguments: ExpertMapFormat.allCases)
  func `a map is known as one, and nothing else is`(_ format: ExpertMapFormat) throws {
    let folder = try TemporaryDirectory()
    let bytes = try bytes(format)
    func known(_ bytes: [UInt8]) throws -> [ExpertMapFormat] {
      let path = try folder.write(bytes, to: "map")
      return ExpertMapFormat.allCases.filter { $0.file.isOwn(path) }
    }
    #expect(try known(bytes) == [format])
    for other in [[], Array(bytes.prefix(9)), Array("{}".utf8)] {
      #expect(try known(other) == [])
    }
    let isThere = format.file.isOwn(folder.path("missing"))
    #expect(!isThere)
  }
}
