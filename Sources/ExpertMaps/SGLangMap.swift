// SPDX-License-Identifier: Apache-2.0
//
// A map for SGLang's `--init-expert-location`: one JSON object with one key, since SGLang passes
// every key on.
//
//   physical_to_logical_map [L][P]   the expert in each physical place of each of the model's L
//                                    layers, dense ones included (where it means nothing)

package import ByteStorage
import Checkpoints
import OrderedCollections

extension ExpertMap {
  fileprivate static let sglangKey = "physical_to_logical_map"

  /// The file's bytes, for a model of `layerCount` layers whose MoE layers have the numbers
  /// `indices`.
  package func sglang(layerCount: Int, indices: [Int]) -> [UInt8] {
    let places = Dictionary(uniqueKeysWithValues: zip(indices, layers))
    let physical = layers.first?.count ?? 0
    let experts = (layers.first?.max() ?? 0) + 1
    let filler = (0..<physical).map { $0 % experts }
    let json: JSONValue = [
      Self.sglangKey: .array(
        (0..<layerCount).map { .array((places[$0] ?? filler).map { .integer($0) }) })
    ]
    return json.serialised(.compact)
  }
}

extension OutputKind {
  /// A map for SGLang: the one key, and experts by layer.
  package static let sglangMap = OutputKind(file: "expert map") { path in
    guard let json = (try? JSONValue(contentsOf: path))?.objectValue, json.count == 1,
      let layers = json[ExpertMap.sglangKey]?.arrayValue
    else { return false }
    return layers.allSatisfy { $0.arrayValue?.allSatisfy { $0.intValue != nil } ?? false }
  }
}
