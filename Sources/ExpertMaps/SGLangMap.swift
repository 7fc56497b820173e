// SPDX-License-Identifier: Apache-2.0
//
// A map for SGLang's `--init-expert-location`: one JSON object with one key, since SGLang passes every
// key on.
//
//   physical_to_logical_map [L][P]   the expert in each physical place of each of the model's L layers,
//                                    dense ones included (where it means nothing)

import Checkpoints
import OrderedCollections

extension ExpertMap {
  /// The file's bytes, for a model of `layerCount` layers whose MoE layers have the numbers `indices`.
  package func sglang(layerCount: Int, indices: [Int]) -> [UInt8] {
    let places = Dictionary(uniqueKeysWithValues: zip(indices, layers))
    let physical = layers.first?.count ?? 0
    let experts = (layers.first?.max() ?? 0) + 1
    let filler = (0..<physical).map { $0 % experts }
    let json: JSONValue = [
      "physical_to_logical_map": .array(
        (0..<layerCount).map { .array((places[$0] ?? filler).map { .integer($0) }) })
    ]
    return json.serialised(.compact)
  }
}
