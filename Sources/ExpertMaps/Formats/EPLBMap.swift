// SPDX-License-Identifier: Apache-2.0
//
// The three arrays that DeepSeek's EPLB returns (https://github.com/deepseek-ai/EPLB, eplb.py,
// `rebalance_experts`), as one JSON object; layers are the MoE layers, in their order:
//
//   physical_to_logical_map [layers][P]      the expert in each physical place
//   logical_to_physical_map [layers][E][X]   the places of each expert, ascending, then -1; X: the
//                                            most copies that an expert has
//   expert_count            [layers][E]      copies of each expert

import Checkpoints
import OrderedCollections

enum EPLBMap: ExpertMapFile {
  private static let keys = [
    "physical_to_logical_map", "logical_to_physical_map", "expert_count",
  ]

  static func bytes(
    _ map: ExpertMap, ranks: Int, layerCount: Int, indices: [Int]
  ) -> [UInt8] {
    let places = map.layers.map { layer in
      (0...(layer.max() ?? 0)).map { expert in layer.indices.filter { layer[$0] == expert } }
    }
    let most = places.joined().map(\.count).max() ?? 0
    let json: JSONValue = [
      keys[0]: .integers(map.layers),
      keys[1]: .array(
        places.map { layer in
          .integers(layer.map { $0 + [Int](repeating: -1, count: most - $0.count) })
        }),
      keys[2]: .integers(places.map { $0.map(\.count) }),
    ]
    return json.serialised(.compact)
  }

  static func isOwn(_ path: String) -> Bool {
    guard let json = (try? JSONValue(contentsOf: path))?.objectValue else { return false }
    return json.keys.elementsEqual(keys) && json[keys[0]]?.isMatrixOfIntegers ?? false
      && json[keys[2]]?.isMatrixOfIntegers ?? false
  }

  static func usage(_ path: String, redundant: Int) -> String {
    "\(path) holds what rebalance_experts of DeepSeek's EPLB returns"
  }
}
