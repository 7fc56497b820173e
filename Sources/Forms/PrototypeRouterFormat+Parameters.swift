// SPDX-License-Identifier: Apache-2.0

package import Architectures
import Checkpoints
package import Routing

extension PrototypeRouterFormat {
  /// What the prototype form's class creates in place of a layer's gate, the encoder as it is
  /// stored.
  package static func parameters(of layer: MoELayer, form: LatentForm) -> [Parameter] {
    let prefix = prefix(of: layer.gate.name)
    let experts = layer.rule.experts
    let outputs = layer.gate.shape.last ?? 0
    let latent = LatentFormTensors.latentSize(form.encoder, outputs: outputs) ?? outputs
    let own: [(String, [Int])] = [
      (encoder, [layer.hiddenSize, outputs]), (logicalPrototypes, [experts, latent]),
      (logitBias, [experts]), (selectionBias, [experts]), (tokenBias, [experts, latent]),
      (physicalToLogical, [experts]), (clonePrototypes, [experts, latent]), (cloneBias, [experts]),
    ]
    let added = LatentFormTensors.shapes(
      form, experts: experts, hiddenSize: layer.hiddenSize, latentSize: latent)
    return (own + added).map { Parameter(prefix + $0.0, $0.1) }
  }
}
