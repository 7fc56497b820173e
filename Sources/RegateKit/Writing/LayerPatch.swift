// SPDX-License-Identifier: Apache-2.0

package import Architectures
import ByteStorage
package import Checkpoints
package import Routing
import Tensors

/// What a layer becomes: which expert's bytes lie in each slot, and the router.
package struct LayerPatch: Sendable {
  package enum NewRouter: Sendable {
    /// The prototype form: tensors of its own.
    case prototype(PrototypeRouter)
    /// The form of the official LPR code.
    case official(PrototypeRouter)
    /// The family's own tensors with new values.
    case stock(FamilyRouter)
    /// The family's own tensors with their rows in another order: stored bytes by tensor.
    case renumbered([(tensor: TensorInfo, bytes: [UInt8])])
  }

  let layer: MoELayer
  /// For each slot, the expert of the original whose bytes it holds [E].
  let physicalToLogical: [Int]
  let router: NewRouter
  /// For each slot, the slot that it was before the renumbering [E]; the identity without one.
  let placement: [Int]
  /// A BF16 selection bias stays BF16: in place, where its tensor cannot grow.
  let keepsBiasType: Bool

  /// A layer whose slots hold the experts `physicalToLogical` and are then renumbered: slot j becomes
  /// what was slot `placement[j]`. `router` is as before the renumbering.
  package init(
    layer: MoELayer, physicalToLogical: [Int], router: NewRouter, placement: [Int]? = nil,
    keepsBiasType: Bool = false
  ) {
    self.layer = layer
    self.keepsBiasType = keepsBiasType
    self.placement = placement ?? Array(physicalToLogical.indices)
    self.physicalToLogical = placement?.map { physicalToLogical[$0] } ?? physicalToLogical
    self.router = placement.map(router.renumbered) ?? router
  }

  /// A layer that is renumbered and otherwise stays as it is, router values included.
  package init(
    renumbering layer: MoELayer, by placement: [Int], in checkpoint: any Checkpoint
  ) {
    let tensors = [layer.gate, layer.gateBias, layer.selectionBias].compactMap { $0 }
    let moved = tensors.map { tensor in
      let row = tensor.range.count / placement.count
      let bytes = placement.flatMap { slot in
        checkpoint.withBytes(of: tensor, part: slot * row..<(slot + 1) * row) {
          [UInt8](copying: $0)
        }
      }
      return (tensor: tensor, bytes: bytes)
    }
    self.layer = layer
    keepsBiasType = true
    self.placement = placement
    physicalToLogical = placement
    router = .renumbered(moved)
  }

  /// Slots that hold another expert's bytes than in the original.
  var changedSlots: [Int] { physicalToLogical.indices.filter { physicalToLogical[$0] != $0 } }

  /// Copies each slot's expert to where it belongs: everything that belongs to it. With `renaming`,
  /// experts that have tensors of their own are renumbered by name, and only clones are copied.
  func addExperts(
    to patches: inout PatchSet, of checkpoint: any Checkpoint, renaming: Bool
  ) throws(RegateError) {
    for part in layer.experts {
      let renamed = renaming && part.hasOwnTensors
      for (slot, source) in physicalToLogical.enumerated() {
        // Where the slot's bytes lie: a renamed tensor keeps its place in the file.
        let place = renamed ? placement[slot] : slot
        guard place != source else { continue }
        guard part.canCopy(from: source, to: place) else {
          throw RegateError(
            .mismatch, file: checkpoint.path, subject: "layer \(layer.index), \(part.name)",
            "expert \(source) cannot take the place of expert \(slot): their types or shapes differ",
            advice: "use --levers route")
        }
        let (from, bytes) = part.slice(expert: source)
        let (target, range) = part.slice(expert: place)
        let start = from.range.lowerBound
        patches.replace(
          target, part: range,
          by: .range(
            checkpoint.files[from.file], start + bytes.lowerBound..<start + bytes.upperBound))
      }
    }
  }

  /// New names of the expert tensors that are renumbered by name.
  var renames: [String: String] {
    var names: [String: String] = [:]
    for part in layer.experts where part.hasOwnTensors {
      for (slot, before) in placement.enumerated() where slot != before {
        names[part.slice(expert: before).tensor.name] = part.slice(expert: slot).tensor.name
      }
    }
    return names
  }
}

extension ExpertPart {
  /// Whether each expert has a tensor of its own.
  fileprivate var hasOwnTensors: Bool {
    if case .separate = storage { true } else { false }
  }
}

extension LayerPatch.NewRouter {
  /// The router of a layer whose slot j becomes what was slot `placement[j]`. Functions keep their
  /// numbers: they name experts of the original.
  fileprivate func renumbered(_ placement: [Int]) -> LayerPatch.NewRouter {
    switch self {
    case .prototype(var router):
      router.physicalToLogical = placement.map { [old = router.physicalToLogical] in old[$0] }
      router.clonePrototypes = router.clonePrototypes.gathering(rows: placement)
      router.cloneBias = placement.map { [old = router.cloneBias] in old[$0] }
      return .prototype(router)
    case .official(var router):
      router.logicalPrototypes = router.logicalPrototypes.gathering(rows: placement)
      return .official(router)
    case .stock(var router):
      router.gate = router.gate.gathering(rows: placement)
      router.logitBias = router.logitBias.map { old in placement.map { old[$0] } }
      router.selectionBias = router.selectionBias.map { old in placement.map { old[$0] } }
      return .stock(router)
    case .renumbered:
      return self
    }
  }
}
