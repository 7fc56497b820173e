// SPDX-License-Identifier: Apache-2.0
//
// A router on disk. One file for each form says what the form needs, which tensors and keys it
// writes, which files stand beside them and who loads it; nothing else tells forms apart.

package import Architectures
package import ByteStorage
package import Checkpoints
package import OrderedCollections
package import Routing

/// A form in which routers are written.
package protocol OutputForm: Sendable {
  /// Whether tensors of its own take the place of the gate, and a configuration goes with them:
  /// then an output has files of its own, and only runtimes that know the form load it.
  var replacesGate: Bool { get }

  /// Refuses a model that cannot be written in this form, with the reason.
  func requirePossible(_ model: Model) throws(RegateError)

  /// The form's router of a layer; nil where the fit holds none.
  func router(in fitted: FittedRouters) -> (any Router)?

  /// What becomes of the router tensors of `layer`. With `keepsBiasType`, a BF16 selection bias
  /// stays BF16: in place, where its tensor cannot grow.
  func tensors(
    of fitted: FittedRouters, layer: MoELayer, keepsBiasType: Bool
  ) throws(RegateError) -> RouterTensors

  /// `config.json` of an output; nil where the original's stays.
  func configuration(
    _ config: JSONValue, family: Family, layers: [(layer: MoELayer, routers: FittedRouters)]
  ) throws(RegateError) -> JSONValue?

  /// Files beside the weights, by name.
  var sideFiles: OrderedDictionary<String, [UInt8]> { get }

  /// What is written, what loads it, and how to choose another form; `onlyStock`: where the output
  /// can hold no other one.
  func headline(_ container: Container, onlyStock: Bool) -> String

  /// How an output is loaded, in Markdown for a model card.
  var howToLoad: String { get }
}

/// The new routers of one layer, in every form that was fitted.
package struct FittedRouters: Sendable {
  package let prototype: PrototypeRouter
  /// Gate [E,H] and selection bias [E]; nil if it was not fitted.
  package let stock: FamilyRouter?
  /// nil if it was not fitted.
  package let official: PrototypeRouter?

  package init(prototype: PrototypeRouter, stock: FamilyRouter?, official: PrototypeRouter?) {
    self.prototype = prototype
    self.stock = stock
    self.official = official
  }

  /// The logical expert that each physical one holds, [E]: the same in every form.
  package var physicalToLogical: [Int] { prototype.physicalToLogical }

  /// Logical experts that are left out and whose places none takes, ascending.
  package var pruned: [Int] {
    guard isPruned else { return [] }
    return Set(0..<prototype.rule.experts).subtracting(physicalToLogical).sorted()
  }

  /// Whether there are fewer physical experts than logical ones.
  package var isPruned: Bool { physicalToLogical.count < prototype.rule.experts }

  /// The forms that a fit holds: what is pruned keeps the router that it has.
  package var forms: [RouterForm] {
    guard !isPruned else { return [.stock] }
    return RouterForm.allCases.filter { $0.output.router(in: self) != nil }
  }
}
