// SPDX-License-Identifier: Apache-2.0
//
// SGLang's `--init-expert-location` (srt/eplb/expert_location.py,
// `compute_initial_expert_location_metadata`): one JSON object with one key, since SGLang passes
// every key on.
//
//   physical_to_logical_map [L][P]   the expert in each physical place of each of the model's L
//                                    layers, dense ones included (where it means nothing)

import Checkpoints
import OrderedCollections

enum SGLangMap: ExpertMapFile {
  /// Other arguments are read as the map itself.
  static let nameEnding: String? = ".json"

  private static let key = "physical_to_logical_map"

  static func bytes(
    _ map: ExpertMap, ranks: Int, layerCount: Int, indices: [Int]
  ) -> [UInt8] {
    let places = Dictionary(uniqueKeysWithValues: zip(indices, map.layers))
    let physical = map.layers.first?.count ?? 0
    let experts = (map.layers.first?.max() ?? 0) + 1
    let filler = (0..<physical).map { $0 % experts }
    let json: JSONValue = [
      key: .integers((0..<layerCount).map { places[$0] ?? filler })
    ]
    return json.serialised(.compact)
  }

  static func isOwn(_ path: String) -> Bool {
    guard let json = (try? JSONValue(contentsOf: path))?.objectValue, json.count == 1 else {
      return false
    }
    return json[key]?.isMatrixOfIntegers ?? false
  }

  static func usage(_ path: String, redundant: Int) -> String {
    "SGLang: --init-expert-location \(path) --ep-num-redundant-experts \(redundant)"
  }
}
