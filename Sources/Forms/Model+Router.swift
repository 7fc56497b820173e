// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
package import Routing
package import Tensors

extension Model {
  /// The form that the checkpoint's routers have.
  package var form: RouterForm {
    guard layout.hasPrototypeRouter else { return .stock }
    return layout.hasOfficialRouter ? .lprOfficial : .lpr
  }

  /// The router of a layer, decoded.
  package func router(of layer: MoELayer) throws(RegateError) -> LayerRouter {
    if layout.hasOfficialRouter, let form = layout.prototypeForm {
      return .prototype(
        try OfficialRouterFormat.router(of: layer, similarity: form.similarity, in: checkpoint))
    }
    if let form = layout.prototypeForm {
      return .prototype(try PrototypeRouterFormat.router(of: layer, form: form, in: checkpoint))
    }
    return .family(try familyRouter(of: layer))
  }

  /// The router of a layer in the family's own form, decoded.
  package func familyRouter(of layer: MoELayer) throws(RegateError) -> FamilyRouter {
    let (gate, gateBias, selectionBias) = try layer.router(from: checkpoint)
    _ = try RouterValues.checked(gate.values, file: checkpoint.path, name: layer.gate.name)
    return FamilyRouter(
      gate: gate, logitBias: gateBias, selectionBias: selectionBias, rule: layer.rule)
  }
}

/// A layer's router in the form that its checkpoint has.
package enum LayerRouter: Sendable {
  case family(FamilyRouter)
  /// Regate's prototype form, or that of the official LPR code.
  case prototype(PrototypeRouter)

  /// The router.
  package var router: any Router {
    switch self {
    case .family(let router): router
    case .prototype(let router): router
    }
  }

  /// The gate's rows [E,H]; for the prototype form, the prototypes [E,R] of its logical experts.
  package var gate: Matrix {
    switch self {
    case .family(let router): router.gate
    case .prototype(let router): router.logicalPrototypes
    }
  }

  /// Row norms, cosines and rank of the rows of `gate`.
  package func statistics() throws(RegateError) -> GateStatistics {
    switch self {
    case .family(let router):
      try GateStatistics(gate: gate, bias: router.selectionBias ?? router.logitBias)
    case .prototype(let router):
      try GateStatistics(gate: gate, bias: router.selectionBias)
    }
  }
}

extension Model {
  /// The router tensors of `layer` that have one row for each physical expert, in whatever form the
  /// checkpoint has: what a renumbering of the experts moves.
  package func rowsOfPhysicalExperts(
    _ layer: MoELayer
  ) throws(RegateError) -> [TensorInfo] {
    guard layout.hasPrototypeRouter else { return layer.routerTensors }
    let names =
      layout.hasOfficialRouter
      ? OfficialRouterFormat.rowsOfPhysicalExperts(gate: layer.gate.name)
      : PrototypeRouterFormat.rowsOfPhysicalExperts(gate: layer.gate.name)
    var tensors: [TensorInfo] = []
    for name in names { tensors.append(try checkpoint.tensor(name)) }
    return tensors
  }
}
