// SPDX-License-Identifier: Apache-2.0
//
// The tensors of the prototype router (see "The prototype router" in the documentation): weight
// [H,R] (encoder lpr: [H,2R]), logical_prototypes [E,R], logit_bias [E], selection_bias [E],
// token_bias [E,R], physical_to_logical [E], clone_prototypes [E,R], clone_bias [E], and what
// LatentFormTensors lists.

package import ByteStorage
package import Checkpoints
package import Routing
import Tensors

package enum PrototypeRouterFormat {
  package static let encoder = "weight"
  package static let logicalPrototypes = "logical_prototypes"
  package static let logitBias = "logit_bias"
  package static let selectionBias = "selection_bias"
  package static let tokenBias = "token_bias"
  package static let physicalToLogical = "physical_to_logical"
  package static let clonePrototypes = "clone_prototypes"
  package static let cloneBias = "clone_bias"

  /// What stands before the names above: the gate's name without its last component.
  package static func prefix(of gate: String) -> String {
    gate.hasSuffix(".weight") ? String(gate.dropLast("weight".count)) : gate + "."
  }

  /// The module whose parameters stand where the gate was.
  package static func module(of gate: String) -> String { String(prefix(of: gate).dropLast()) }

  /// The tensors beside `gate` that have one row for each physical expert.
  package static func rowsOfPhysicalExperts(gate: String) -> [String] {
    [physicalToLogical, clonePrototypes, cloneBias].map { prefix(of: gate) + $0 }
  }

  /// The tensors of `router`, which takes the place of the gate named `gate`.
  package static func tensors(
    of router: PrototypeRouter, gate: String
  ) throws(RegateError) -> [SafetensorsWriter.Tensor] {
    let weight = LatentFormTensors.matrix(of: router.encoder)
    guard weight.columns != router.rule.experts else {
      // [H,R] must differ from every stock gate [E,H]: that is what stops stock code.
      throw RegateError(
        .unsupported, subject: gate,
        "hidden size and number of experts are both \(weight.columns): "
          + "the prototype form could be mistaken for a stock gate", advice: "use `router` stock")
    }
    let prefix = prefix(of: gate)
    func floats(_ name: String, _ values: [Float], _ shape: [Int]) throws(RegateError)
      -> SafetensorsWriter.Tensor
    {
      SafetensorsWriter.Tensor(
        name: prefix + name, type: .f32, shape: shape,
        bytes: try TensorEncoder.encode(values, type: .f32))
    }
    func floats(_ name: String, _ matrix: Matrix) throws(RegateError) -> SafetensorsWriter.Tensor {
      try floats(name, matrix.values, [matrix.rows, matrix.columns])
    }
    let (logicals, physicals) = (router.rule.experts, router.experts)
    var tensors = [
      try floats(encoder, weight.transposed()),
      try floats(logicalPrototypes, router.logicalPrototypes),
      try floats(
        logitBias, router.logitBias ?? [Float](repeating: 0, count: logicals), [logicals]),
      try floats(selectionBias, router.selectionBias, [logicals]),
      try floats(
        tokenBias,
        router.tokenBias ?? Matrix(rows: logicals, columns: router.latentSize)),
      SafetensorsWriter.Tensor(
        name: prefix + physicalToLogical, type: .i64, shape: [physicals],
        bytes: router.physicalToLogical.flatMap { Int64($0).littleEndianBytes }),
      try floats(clonePrototypes, router.clonePrototypes),
      try floats(cloneBias, router.cloneBias, [physicals]),
    ]
    for tensor in LatentFormTensors.added(by: router) {
      tensors.append(try floats(tensor.name, tensor.values, tensor.shape))
    }
    return tensors
  }
}
