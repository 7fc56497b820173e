// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
package import Forms
import Routing

/// What a layer becomes: which expert's bytes each physical expert holds, and the router's tensors.
package struct LayerPatch: Sendable {
  package let layer: MoELayer
  /// For each physical expert, the expert of the original whose bytes it holds [E]; fewer where
  /// the others are pruned.
  package let physicalToLogical: [Int]
  package let router: RouterTensors
  /// Whether the experts are only renumbered: each is there once.
  private let isRenumbering: Bool

  /// A layer with clones and a new router; or, where `physicalToLogical` names fewer experts than
  /// there are, without the others.
  package init(layer: MoELayer, physicalToLogical: [Int], router: RouterTensors) {
    self.layer = layer
    self.physicalToLogical = physicalToLogical
    self.router = router
    isRenumbering = false
  }

  /// A layer that is renumbered and otherwise stays as it is: physical expert j becomes what was
  /// number `order[j]`. `router` has its rows in that order.
  package init(renumbering layer: MoELayer, by order: [Int], router: RouterTensors) {
    self.layer = layer
    physicalToLogical = order
    self.router = router
    isRenumbering = true
  }

  /// Whether experts are left out.
  package var isPruning: Bool { physicalToLogical.count < layer.rule.experts }

  /// Whether no expert is copied, so that those that have tensors of their own get new names only.
  private var keepsEachOnce: Bool { isRenumbering || isPruning }

  /// Whether any expert is another one's than in the original, or not there.
  package var changesExperts: Bool {
    isPruning || physicalToLogical != Array(physicalToLogical.indices)
  }

  /// Physical experts that do not hold their own bytes.
  private var changedExperts: [Int] {
    physicalToLogical.indices.filter { physicalToLogical[$0] != $0 }
  }

  /// The shape of the tensor that holds physical expert `index` of `part` in the output.
  package func shape(of part: ExpertPart, expert index: Int) -> [Int] {
    let (tensor, _) = part.slice(expert: physicalToLogical[index])
    guard isPruning, !part.hasOwnTensors else { return tensor.shape }
    return [physicalToLogical.count] + tensor.shape.dropFirst()
  }

  /// Bytes of experts and routers that are not what the original has there; headers aside.
  package func changedBytes(in container: Container) -> Int {
    let renames = container == .safetensors && keepsEachOnce
    let experts = layer.experts.filter { !(renames && $0.hasOwnTensors) }.reduce(0) { sum, part in
      changedExperts.reduce(sum) { $0 + part.slice(expert: $1).bytes.count }
    }
    let changes = router.changes.reduce(0) { $0 + ($1.replacement?.bytes.count ?? 0) }
    return router.added.reduce(experts + changes) { $0 + $1.bytes.count }
  }

  /// Copies each expert to where it belongs: everything that belongs to it. With `renaming`,
  /// experts that have tensors of their own are renumbered by name, and only clones are copied.
  /// What is pruned lies in tensors of other shapes (RelaidTensors.swift).
  package func addExperts(
    to patches: inout PatchSet, of checkpoint: any Checkpoint, renaming: Bool
  ) throws(RegateError) {
    guard !isPruning else { return }
    // A renamed tensor keeps its place in the file.
    for part in layer.experts where !(renaming && isRenumbering && part.hasOwnTensors) {
      for (physical, source) in physicalToLogical.enumerated() where physical != source {
        guard part.canCopy(from: source, to: physical) else {
          throw RegateError(
            .mismatch, file: checkpoint.path, subject: "layer \(layer.index), \(part.name)",
            "expert \(source) cannot take the place of expert \(physical): their types or shapes "
              + "differ",
            advice: "fit without `clones`")
        }
        let (from, bytes) = part.slice(expert: source)
        let (target, range) = part.slice(expert: physical)
        let start = from.range.lowerBound
        patches.replace(
          target, part: range,
          by: .range(
            checkpoint.files[from.file], start + bytes.lowerBound..<start + bytes.upperBound))
      }
    }
  }

  /// New names of the expert tensors that get another number.
  package var renames: [String: String] {
    guard keepsEachOnce else { return [:] }
    var names: [String: String] = [:]
    for part in layer.experts where part.hasOwnTensors {
      for (physical, before) in physicalToLogical.enumerated() where physical != before {
        names[part.slice(expert: before).tensor.name] = part.slice(expert: physical).tensor.name
      }
    }
    return names
  }
}

extension ExpertPart {
  /// Whether each expert has a tensor of its own.
  var hasOwnTensors: Bool {
    if case .separate = storage { true } else { false }
  }
}
