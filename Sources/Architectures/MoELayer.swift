// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
package import Routing
package import Tensors

/// One MoE layer of a checkpoint: its router, its experts, and how it routes.
package struct MoELayer: Sendable {
  /// The model's layer number.
  package let index: Int
  /// As the runtimes that read this container compute it.
  package let rule: RoutingRule
  /// H.
  package let hiddenSize: Int
  /// The width of what an expert reads and writes: H, unless they lie between two projections.
  package let expertInputs: Int
  /// I, the inner width of one expert.
  package let expertWidth: Int
  package let activation: Activation
  /// The router's matrix [E,H].
  package let gate: TensorInfo
  /// The gate with what stands beside it.
  let gateForm: GateForm
  /// Bias on the logits [E].
  package let gateBias: TensorInfo?
  /// Bias on the scores, for selection only [E] or [1,E].
  package let selectionBias: TensorInfo?
  /// What makes the experts' inputs others than the router's; nil: nothing.
  package let routerInput: RouterInput?
  /// Everything that belongs to the E experts.
  package let experts: [ExpertPart]
  /// Single values that stand beside the matrices of all experts.
  package let common: [ExpertPart]
  package let sharedExperts: Int
  /// Tensors of the shared experts, and of their gate where there is one.
  package let shared: [TensorInfo]
  /// Tensors that name the experts, but that cannot be divided among them.
  package let unplaced: [TensorInfo]

  /// The type that the router is stored in.
  package var routerType: ElementType { gate.type }
  /// The type that a new router is stored in.
  package var writtenGateType: ElementType { gate.type.isQuantised ? .f32 : gate.type }

  /// The bits that a quantised gate has for each value; nil for one of plain numbers.
  package var gateBits: Int? {
    switch gateForm {
    case .mlx(let quantisation): quantisation.bits
    case .weight(let weight): weight.scale == nil ? nil : weight.elementType.blockBits
    }
  }

  /// The router's tensors, decoded: gate [E,H], biases [E]. Refused where one holds NaN or
  /// infinity; a bias may rule out experts by minus infinity.
  package func router(
    from checkpoint: any Checkpoint
  ) throws(RegateError) -> (gate: Matrix, gateBias: [Float]?, selectionBias: [Float]?) {
    let values: Matrix
    switch gateForm {
    case .mlx(let quantisation):
      values = Matrix(
        rows: rule.experts, columns: hiddenSize,
        values: try quantisation.decode(gate, in: checkpoint))
    case .weight(let weight):
      values = try weight.matrix(rows: rule.experts, columns: hiddenSize, in: checkpoint)
        .panel(threads: 1).matrix
    }
    try checkpoint.requireFinite(values.values, of: gate, shape: [rule.experts, hiddenSize])
    func bias(_ tensor: TensorInfo?) throws(RegateError) -> [Float]? {
      guard let tensor else { return nil }
      let values = try checkpoint.floats(of: tensor)
      try checkpoint.requireFinite(values, of: tensor, allowingMinusInfinity: true)
      return values
    }
    return (
      values, try bias(gateBias), try bias(selectionBias)
    )
  }
}

/// How a gate's values are stored.
enum GateForm: Sendable {
  case weight(StoredWeight)
  case mlx(AffineQuantisation)
}

/// A router outside the model's own layers: that of a multi-token-prediction layer. Regate reports
/// it and leaves it alone, unless it is asked to include such layers.
package struct ExtraRouter: Sendable {
  /// The layer's name up to the router, e.g. `model.layers.61.`.
  package let layer: String
  /// Its number, where it is counted on from the model's own layers; nil under another prefix.
  package let index: Int?
  package let gate: TensorInfo
}
