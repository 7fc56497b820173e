// SPDX-License-Identifier: Apache-2.0
//
// vLLM-Ascend's `eplb_config.expert_map_path` (vllm_ascend/eplb/core/eplb_utils.py,
// `expert_file_to_tensor`): JSON, one entry for each MoE layer, by its place among them; every
// device's experts in the order of its places, as many on each. A device's table has one place for
// each expert, so that no device may hold an expert twice.

import Checkpoints
import OrderedCollections

enum AscendMap: ExpertMapFile {
  static let keepsReplicasApart = true

  static func bytes(
    _ map: ExpertMap, ranks: Int, layerCount: Int, indices: [Int]
  ) -> [UInt8] {
    let json: JSONValue = [
      "moe_layer_count": .integer(map.layers.count),
      "layer_list": .array(
        map.layers.enumerated().map { number, layer in
          let room = layer.count / ranks
          return [
            "layer_id": .integer(number), "device_count": .integer(ranks),
            "device_list": .array(
              (0..<ranks).map { rank in
                [
                  "device_id": .integer(rank),
                  "device_expert": .integers(Array(layer[rank * room..<(rank + 1) * room])),
                ]
              }),
          ]
        }),
    ]
    return json.serialised(.compact)
  }

  static func isOwn(_ path: String) -> Bool {
    guard let json = (try? JSONValue(contentsOf: path))?.objectValue,
      json.keys.elementsEqual(["moe_layer_count", "layer_list"]),
      let layers = json["layer_list"]?.arrayValue
    else { return false }
    return layers.allSatisfy { layer in
      layer["device_list"]?.arrayValue?.allSatisfy { $0["device_expert"]?.arrayValue != nil }
        ?? false
    }
  }

  static func usage(_ path: String, redundant: Int) -> String {
    #"vLLM-Ascend: --additional-config '{"eplb_config": {"expert_map_path": "\#(path)", "#
      + #""num_redundant_experts": \#(redundant)}}'"#
  }
}
