// SPDX-License-Identifier: Apache-2.0

package import Architectures
import ByteStorage
package import Checkpoints
package import Forms
import OrderedCollections
import Routing
package import Tensors

/// What a rule says about a checkpoint.
public enum CheckLevel: String, Sendable, CaseIterable, Comparable {
  /// Worth knowing; nothing is lost.
  case note
  /// It loads, but routes or computes otherwise than other runtimes do with the same model.
  case differs
  /// What the runtime does with it is not known here.
  case unknown
  /// It loads, and something in it is silently left out.
  case drops
  /// It loads, and starts something at random that it does not find.
  case random
  /// It does not load.
  case refuses

  public static func < (a: CheckLevel, b: CheckLevel) -> Bool {
    (allCases.firstIndex(of: a) ?? 0) < (allCases.firstIndex(of: b) ?? 0)
  }
}

/// One statement about how a serving runtime treats checkpoints of some kind. Each runtime's are in
/// a file of its own.
package struct CheckRule: Sendable {
  /// Stable name, for programs.
  package let name: String
  package let level: CheckLevel
  /// What the runtime does, and what can be done about it.
  package let text: String
  /// How this is known, and of which versions.
  package let evidence: Evidence
  /// The versions that it is about; nil: all, as far as they are known.
  package let range: VersionRange?
  /// What to type, of a rule that says that the runtime loads the checkpoint: silence says nothing.
  package let command: String?
  /// What in the checkpoint the rule is about (a tensor, a key); nil where it does not apply.
  package let applies: @Sendable (CheckSubject) -> String?

  package init(
    _ name: String, _ level: CheckLevel, _ text: String, _ evidence: Evidence,
    range: VersionRange? = nil, command: String? = nil,
    applies: @escaping @Sendable (CheckSubject) -> String?
  ) {
    self.name = name
    self.level = level
    self.text = text
    self.evidence = evidence
    self.range = range
    self.command = command
    self.applies = applies
  }
}

/// A checkpoint as the rules look at it: one that exists, or one that a conversion would write.
package struct CheckSubject: Sendable {
  package let model: Model
  /// The prototype form.
  package let prototype: Bool
  /// The form of the official LPR code.
  package let official: Bool
  /// The selection biases are stored as this; nil where there are none.
  package let biasType: ElementType?
  /// Whether it is what a conversion would write.
  private let isPlanned: Bool
  /// What transformers' class, or llama.cpp for GGUF, makes of what is stored.
  let reading: ClassReading

  /// A checkpoint as it is.
  package init(_ model: Model) {
    self.init(
      model: model, prototype: model.layout.hasPrototypeRouter && !model.layout.hasOfficialRouter,
      official: model.layout.hasOfficialRouter,
      biasType: model.layout.layers.lazy.compactMap(\.selectionBias?.type).first, isPlanned: false)
  }

  /// What a conversion of `model` to `form` would be.
  package init(planned model: Model, form: RouterForm, keepsBiasType: Bool) {
    let bias = model.layout.layers.lazy.compactMap(\.selectionBias?.type).first
    self.init(
      model: model, prototype: form == .lpr, official: form == .lprOfficial,
      biasType: form.output.replacesGate ? nil : bias.map { keepsBiasType ? $0 : .f32 },
      isPlanned: true)
  }

  private init(
    model: Model, prototype: Bool, official: Bool, biasType: ElementType?, isPlanned: Bool
  ) {
    self.model = model
    self.prototype = prototype
    self.official = official
    self.biasType = biasType
    self.isPlanned = isPlanned
    reading = ClassReading(of: model)
  }

  package var layout: ModelLayout { model.layout }
  package var family: Family { layout.family }
  package var isGGUF: Bool { layout.container == .gguf }
  package var safetensors: SafetensorsCheckpoint? {
    if case .safetensors(let checkpoint) = model.checkpoint.format { checkpoint } else { nil }
  }
  package var gguf: GGUFCheckpoint? {
    if case .gguf(let checkpoint) = model.checkpoint.format { checkpoint } else { nil }
  }
  /// `config.json`, or the part of it that describes the language model.
  package var config: JSONValue? { layout.config }

  /// `quant_method` of `config.json`; `mlx` for MLX's own key.
  package var quantisation: String? {
    safetensors.flatMap { Self.quantisation($0, layout) }
  }

  static func quantisation(_ checkpoint: SafetensorsCheckpoint, _ layout: ModelLayout) -> String? {
    guard let config = checkpoint.config else { return nil }
    // MLX writes its object under Hugging Face's key too.
    if config["quantization"]?.objectValue != nil { return "mlx" }
    for object in [config, layout.config ?? config] {
      if let found = object["quantization_config"] ?? object["compression_config"],
        found.objectValue != nil
      {
        return found["quant_method"]?.stringValue ?? "unnamed"
      }
    }
    return nil
  }

  /// Whether the experts are quantised one by one in a way that transformers 5 does not fuse.
  package var expertsLeftOut: Bool {
    ["awq", "gptq"].contains(quantisation) && !isGGUF && fusedExperts == nil
  }

  /// The first expert tensor under mlx-lm's name.
  package var mlxExperts: String? {
    fusedExperts.flatMap { $0.contains(".\(TensorNames.mlxExperts).") ? $0 : nil }
  }

  /// RoPE's base as transformers 5 writes it, where mlx-lm does not look.
  package var nestedRopeBase: Double? {
    config?["rope_theta"] == nil ? config?["rope_parameters"]?["rope_theta"]?.doubleValue : nil
  }

  /// The first selection bias that the checkpoint holds although its family reads none.
  package var strayBias: String? {
    let known = Set(layout.layers.compactMap(\.selectionBias?.name))
    return model.checkpoint.tensors.keys.first {
      ($0.hasSuffix(".e_score_correction_bias") || $0.hasSuffix(".exp_probs_b.bias"))
        && !known.contains($0) && !layout.extraRouters.map(\.layer).contains(where: $0.hasPrefix)
    }
  }

  /// A file of tensors that no index leaves out and that is no part of the model; nil for what a
  /// conversion would write, which copies none.
  package var strayShard: String? {
    guard !isPlanned, let safetensors, safetensors.index == nil else { return nil }
    return safetensors.otherWeights.first { $0.hasSuffix(".safetensors") && !$0.contains("/") }
  }

  /// The prototype form with weights that Regate's plugin cannot give to the family's rule.
  package var pluginRefusesNorm: Bool {
    prototype && family.runtimes.pluginNeedsNorm && layout.layers.first?.rule.normalise == false
  }

  /// The first fused expert matrix.
  package var fusedExperts: String? {
    for part in layout.layers.lazy.flatMap(\.experts) {
      if case .fused(let tensor) = part.storage { return tensor.name }
    }
    return nil
  }

  /// A tensor of a GGUF file that llama.cpp cannot compute with.
  package var uncomputedGGUFTensor: String? {
    guard isGGUF else { return nil }
    let uncomputed: Set<ElementType> = [.f64, .i8, .i16, .i32, .i64]
    return model.checkpoint.tensors.values.first {
      uncomputed.contains($0.type) || $0.name.hasSuffix("_norm.weight") && $0.type != .f32
    }?.name
  }

  /// A GGUF key of the architecture, as text; nil where it is absent.
  package func setting(_ key: String) -> String? {
    guard let gguf, let value = gguf.metadata["\(gguf.architecture).\(key)"] else { return nil }
    if case .bool(let flag) = value { return flag ? "true" : "false" }
    return value.integer.map(String.init) ?? value.string ?? value.float.map { String($0) }
  }

  /// Where a rule is about the model as a whole.
  package static let whole = "the checkpoint"
}
