// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Tensors

/// A tensor that does not have the original's type or shape in the output.
struct RelaidTensor {
  let type: ElementType
  let shape: [Int]
  let contents: [Segment]

  var byteCount: Int { contents.reduce(0) { $0 + $1.count } }
}

/// What becomes of tensors that do not keep their place and size: those of routers that are
/// replaced, widened or cut, and those of pruned experts.
struct RelaidTensors {
  /// By their name in the original.
  private(set) var changed: [String: RelaidTensor] = [:]
  /// Names of the original that the output has no tensor for.
  private(set) var leftOut: Set<String> = []

  init(_ patches: [LayerPatch], of checkpoint: any Checkpoint) {
    for patch in patches {
      for change in patch.router.changes where !change.keepsLayout {
        guard let new = change.replacement else {
          leftOut.insert(change.tensor.name)
          continue
        }
        changed[change.tensor.name] = RelaidTensor(
          type: new.type, shape: new.shape, contents: [.bytes(new.bytes)])
      }
      if patch.isPruning { add(patch, of: checkpoint) }
    }
  }

  private mutating func add(_ patch: LayerPatch, of checkpoint: any Checkpoint) {
    let kept = patch.physicalToLogical
    for part in patch.layer.experts {
      switch part.storage {
      case .separate(let tensors):
        leftOut.formUnion(Set(tensors.indices).subtracting(kept).map { tensors[$0].name })
      case .fused(let tensor):
        changed[tensor.name] = RelaidTensor(
          type: tensor.type, shape: patch.shape(of: part, expert: 0),
          contents: kept.map { expert in
            let bytes = part.slice(expert: expert).bytes
            let start = tensor.range.lowerBound
            return .range(
              checkpoint.files[tensor.file], start + bytes.lowerBound..<start + bytes.upperBound)
          })
      }
    }
  }

  /// Whether any tensor of the shard is one of them.
  func touches(_ part: SafetensorsFile) -> Bool {
    part.tensors.contains { changed[$0.name] != nil || leftOut.contains($0.name) }
  }
}
