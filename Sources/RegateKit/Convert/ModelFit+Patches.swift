// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Forms
import ModelFitting

extension ModelFit {
  /// What changes in `model` where the fit is written in `form`; layers that stay as they are have
  /// no patch.
  func patches(
    of model: Model, form: RouterForm, keepsBiasType: Bool
  ) throws(RegateError) -> [LayerPatch] {
    // A form with a router of its own has it in all layers or in none.
    let writesAll = form.output.replacesGate && layers.contains { !$0.fitted.isUnchanged }
    var patches: [LayerPatch] = []
    for (layer, fitted) in zip(model.layout.layers, layers)
    where writesAll || !fitted.fitted.isUnchanged {
      patches.append(
        LayerPatch(
          layer: layer, physicalToLogical: fitted.fitted.routers.physicalToLogical,
          router: try routerTensors(of: fitted.fitted.routers, layer)))
    }
    return patches

    func routerTensors(
      of routers: FittedRouters, _ layer: MoELayer
    ) throws(RegateError) -> RouterTensors {
      guard routers.isPruned else {
        return try form.output.tensors(of: routers, layer: layer, keepsBiasType: keepsBiasType)
      }
      return try RouterTensors(
        renumbering: layer.routerTensors, of: layer.rule.experts, by: routers.physicalToLogical,
        in: model.checkpoint)
    }
  }
}
