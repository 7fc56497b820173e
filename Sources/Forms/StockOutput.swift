// SPDX-License-Identifier: Apache-2.0
//
// The router that the architecture already has, with new values: a linear gate of the same name,
// shape and dtype, with a bias on its logits where there is one, and a selection bias where there
// is one, written as F32 wherever its tensor can grow. A gate of a block type, which would round
// the new values off their balance, becomes F32.

package import Architectures
package import ByteStorage
package import Checkpoints
package import OrderedCollections
package import Routing
import Tensors

package struct StockOutput: OutputForm {
  package init() {}

  package var replacesGate: Bool { false }

  package func requirePossible(_ model: Model) throws(RegateError) {}

  package func router(in fitted: FittedRouters) -> (any Router)? { fitted.stock }

  package func tensors(
    of fitted: FittedRouters, layer: MoELayer, keepsBiasType: Bool
  ) throws(RegateError) -> RouterTensors {
    guard let stock = fitted.stock else {
      throw RegateError(
        .missing, subject: "layers.\(layer.index).stock_gate", "the fit holds no stock gate",
        advice: "fit again with this version")
    }
    try require(stock.selectionBias, layer.selectionBias, "selection bias", of: layer)
    try require(stock.logitBias, layer.gateBias, "bias on the logits", of: layer)
    let gateType = layer.writtenGateType
    var changes = [
      TensorChange(
        tensor: layer.gate,
        replacement: .init(
          type: gateType, shape: layer.gate.shape,
          bytes: try TensorEncoder.encode(stock.gate.values, type: gateType)))
    ]
    if let tensor = layer.gateBias, let bias = stock.logitBias {
      changes.append(
        TensorChange(
          tensor: tensor,
          replacement: .init(
            type: tensor.type, shape: tensor.shape,
            bytes: try TensorEncoder.encode(bias, type: tensor.type))))
    }
    if let tensor = layer.selectionBias, let bias = stock.selectionBias {
      // A BF16 bias has too few digits to balance by: it is stored as F32 wherever it can.
      let keepsType = tensor.type == .f64 || keepsBiasType && tensor.type == .bf16
      let type: ElementType = keepsType ? tensor.type : .f32
      if type == .bf16, bias.contains(where: { $0 != $0.roundedToBF16 }) {
        throw RegateError(
          .refused, subject: tensor.name, "is BF16 in place, but the fit has F32 values for it",
          advice: "fit in place with `calibration`, which solves for BF16, or use `output`")
      }
      changes.append(
        TensorChange(
          tensor: tensor,
          replacement: .init(
            type: type, shape: tensor.shape, bytes: try TensorEncoder.encode(bias, type: type))))
    }
    return RouterTensors(changes: changes)
  }

  /// A bias without a tensor would be left out, and one without new values would stay.
  private func require(
    _ values: [Float]?, _ tensor: TensorInfo?, _ kind: String, of layer: MoELayer
  ) throws(RegateError) {
    guard (values == nil) != (tensor == nil) else { return }
    throw RegateError(
      .refused, subject: tensor?.name ?? layer.gate.name,
      tensor == nil
        ? "the fit has a \(kind), but the checkpoint has no tensor for it"
        : "the fit has no values for this \(kind)",
      advice: "fit this checkpoint itself with `calibration`")
  }

  package func configuration(
    _ config: JSONValue, family: Family, layers: [(layer: MoELayer, routers: FittedRouters)]
  ) throws(RegateError) -> JSONValue? { nil }

  package var sideFiles: OrderedDictionary<String, [UInt8]> { [:] }

  package func headline(_ container: Container, onlyStock: Bool) -> String {
    switch container {
    case .gguf:
      "Writing the stock router (the only form for GGUF): loads in whatever loaded the original, "
        + "such as llama.cpp."
    case .safetensors:
      "Writing the stock router (`router` stock): loads in whatever loaded the original, such as "
        + "transformers, vLLM and SGLang."
        + (onlyStock
          ? "" : " Choose `router` lpr for better balance at less loss, in the prototype form.")
    }
  }

  package var howToLoad: String {
    "As the base model: names, shapes and configuration are its own."
  }
}
