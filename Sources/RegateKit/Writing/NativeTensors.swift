// SPDX-License-Identifier: Apache-2.0
//
// The tensors of the native router, version 1 (see "The native router" in the documentation):
// weight [H,R], function_prototypes [E,R], function_potentials [E], slot_function [E],
// slot_prototypes [E,R], slot_potentials [E].

import Architectures
import ByteStorage
import Checkpoints
import Routing
import Tensors

/// One tensor of the native form, ready to be written.
struct NativeTensor: Sendable {
  let name: String
  let type: ElementType
  let shape: [Int]
  let bytes: [UInt8]
}

enum NativeRouterFormat {
  static let encoder = "weight"
  static let functionPrototypes = "function_prototypes"
  static let functionPotentials = "function_potentials"
  static let slotFunction = "slot_function"
  static let slotPrototypes = "slot_prototypes"
  static let slotPotentials = "slot_potentials"

  /// What stands before the names above: the gate's name without its last component.
  static func prefix(of gate: String) -> String {
    gate.hasSuffix(".weight") ? String(gate.dropLast("weight".count)) : gate + "."
  }

  /// The tensors of `router`, which takes the place of the gate named `gate`.
  static func tensors(
    of router: PrototypeRouter, gate: String
  ) throws(RegateError) -> [NativeTensor] {
    guard case .linear(let weight) = router.encoder else {
      throw RegateError(.unsupported, subject: gate, "only linear encoders can be written")
    }
    guard weight.columns != router.experts else {
      // [H,R] must differ from every stock gate [E,H]: that is what stops stock code.
      throw RegateError(
        .unsupported, subject: gate,
        "hidden size and number of experts are both \(router.experts): "
          + "the native form could be mistaken for a stock gate", advice: "use --router stock")
    }
    let prefix = prefix(of: gate)
    func floats(_ name: String, _ values: [Float], _ shape: [Int]) throws(RegateError)
      -> NativeTensor
    {
      NativeTensor(
        name: prefix + name, type: .f32, shape: shape,
        bytes: try TensorEncoder.encode(values, type: .f32))
    }
    func floats(_ name: String, _ matrix: Matrix) throws(RegateError) -> NativeTensor {
      try floats(name, matrix.values, [matrix.rows, matrix.columns])
    }
    let count = [router.experts]
    return [
      try floats(encoder, weight.transposed()),
      try floats(functionPrototypes, router.functionPrototypes),
      try floats(functionPotentials, router.functionPotentials, count),
      NativeTensor(
        name: prefix + slotFunction, type: .i64, shape: count,
        bytes: router.slotFunction.flatMap { function in
          withUnsafeBytes(of: Int64(function).littleEndian) { Array($0) }
        }),
      try floats(slotPrototypes, router.slotPrototypes),
      try floats(slotPotentials, router.slotPotentials, count),
    ]
  }
}
