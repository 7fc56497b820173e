// SPDX-License-Identifier: Apache-2.0

package import Architectures
import ByteStorage
import Checkpoints
package import Routing
import Tensors

/// What a layer becomes: which expert's bytes lie in each slot, and the router.
package struct LayerPatch: Sendable {
  package enum NewRouter: Sendable {
    /// The native form: tensors of its own.
    case native(PrototypeRouter)
    /// The family's own tensors with new values.
    case stock(FamilyRouter)
  }

  let layer: MoELayer
  /// For each slot, the expert of the original whose bytes it holds [E].
  let slotFunction: [Int]
  let router: NewRouter

  package init(layer: MoELayer, slotFunction: [Int], router: NewRouter) {
    self.layer = layer
    self.slotFunction = slotFunction
    self.router = router
  }

  /// Slots that hold another expert's bytes than in the original.
  var changedSlots: [Int] { slotFunction.indices.filter { slotFunction[$0] != $0 } }

  /// Copies each changed slot's expert over what lay there: everything that belongs to it.
  func addExperts(to patches: inout PatchSet, of checkpoint: any Checkpoint) throws(RegateError) {
    for slot in changedSlots {
      let source = slotFunction[slot]
      for part in layer.experts {
        guard part.canCopy(from: source, to: slot) else {
          throw RegateError(
            .mismatch, file: checkpoint.path, subject: "layer \(layer.index), \(part.name)",
            "expert \(source) cannot take the place of expert \(slot): their types or shapes differ",
            advice: "use --levers route")
        }
        let (from, bytes) = part.slice(expert: source)
        let (target, place) = part.slice(expert: slot)
        let start = from.range.lowerBound
        patches.replace(
          target, part: place,
          by: .range(
            checkpoint.files[from.file], start + bytes.lowerBound..<start + bytes.upperBound))
      }
    }
  }
}
