// SPDX-License-Identifier: Apache-2.0

/// A Mixture-of-Experts architecture: how its checkpoints name their parts, how its layers compute,
/// and what runtimes make of them.
///
/// Everything here is data, and one file under `Families` holds all of a family's: nothing else
/// knows a family by its name. `Family.all` lists them.
package struct Family: Sendable {
  /// Identifier in reports, e.g. `qwen3_moe`.
  package let name: String
  /// The name that people use, e.g. `Qwen3-MoE`.
  package let title: String
  /// What the experts compute between their matrices.
  package let activation: Activation
  /// How the layers' tokens see one another; nil: Regate does not run the family, and knows of its
  /// classes what routers and experts are alone.
  package let mixer: MixerTraits?
  /// How its layers put their parts together.
  package let layerForm: LayerForm
  /// Whether embedded tokens are multiplied by the root of the hidden size.
  package let scalesEmbedding: Bool
  /// Whether the shared expert's output is weighted by the sigmoid of a gate of its own.
  package let gatesSharedExpert: Bool
  package let huggingFace: HuggingFaceTraits
  package let gguf: GGUFTraits
  package let forms: FormTraits
  package let runtimes: RuntimeTraits

  init(
    name: String, title: String, activation: Activation = .silu,
    mixer: MixerTraits? = nil, layerForm: LayerForm = .plain, scalesEmbedding: Bool = false,
    gatesSharedExpert: Bool = false, huggingFace: HuggingFaceTraits,
    gguf: GGUFTraits, forms: FormTraits = FormTraits(), runtimes: RuntimeTraits = RuntimeTraits()
  ) {
    self.name = name
    self.title = title
    self.activation = activation
    self.mixer = mixer
    self.layerForm = layerForm
    self.scalesEmbedding = scalesEmbedding
    self.gatesSharedExpert = gatesSharedExpert
    self.huggingFace = huggingFace
    self.gguf = gguf
    self.forms = forms
    self.runtimes = runtimes
  }
}
