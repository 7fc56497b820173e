// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Forms
import OrderedCollections

/// What transformers' class of the family makes of a safetensors checkpoint.
struct TransformersClass {
  private(set) var findings: [Check.Finding] = []
  private let model: Model
  private let checkpoint: SafetensorsCheckpoint
  private static let evidence = Evidence.measured(
    "tools/interop/check_mutations.py", in: "5.23.0")

  private var layout: ModelLayout { model.layout }

  init(_ model: Model, _ checkpoint: SafetensorsCheckpoint) {
    self.model = model
    self.checkpoint = checkpoint
    // It knows no class for the official form, which a rule of its own says.
    guard let written = checkpoint.config, !layout.hasOfficialRouter else { return }
    guard written.objectValue?.keys == layout.config?.objectValue?.keys else {
      add(
        .unknown, key: written["model_type"]?.stringValue ?? "model_type",
        "the language model is part of another one, whose class is not known here")
      return
    }
    do {
      let original = try PrototypeForm.original(of: written, file: checkpoint.path)
      try read(original ?? written)
    } catch {
      add(.unknown, key: error.subject ?? "config.json", error.problem)
    }
  }

  private mutating func add(_ level: CheckLevel, key: String, _ text: String) {
    findings.append(Check.Finding("class-configuration", level, key: key, text, Self.evidence))
  }

  private mutating func add(_ finding: Check.Finding?) {
    if let finding { findings.append(finding) }
  }

  private mutating func read(_ config: JSONValue) throws(RegateError) {
    let keys = ClassConfiguration(config, of: layout.family)
    for problem in keys.refused { add(.refuses, key: problem.key, problem.text) }
    for problem in keys.unknown { add(.unknown, key: problem.key, problem.text) }
    guard keys.refused.isEmpty else { return }
    var parameters = try ClassParameters.list(
      layout, config: config, withoutRouters: layout.hasPrototypeRouter)
    if let form = layout.prototypeForm {
      for layer in layout.layers {
        parameters += PrototypeRouterFormat.parameters(of: layer, form: form)
      }
    }
    let comparison = ParameterComparison(parameters, with: checkpoint)
    if CheckSubject.quantisation(checkpoint, layout) == nil {
      compare(comparison)
    } else {
      add(
        Check.Finding(
          Check.Finding.missing, .random,
          lackingEverything(comparison.missing),
          "is not stored, under no name that a quantiser gives it: it starts at random",
          Self.evidence))
    }
  }

  /// Of `names`, those beside which nothing is stored that could be a quantised form. Quantisers
  /// store experts in ways of their own.
  private func lackingEverything(_ names: [String]) -> [String] {
    func module(_ name: String) -> Substring { name[..<(name.lastIndex(of: ".") ?? name.endIndex)] }
    let stored = Set(checkpoint.tensors.keys.map(module))
    return names.filter { !$0.contains("experts") && !stored.contains(module($0)) }
  }

  private mutating func compare(_ comparison: ParameterComparison) {
    if let first = comparison.mismatched.first {
      add(
        Check.Finding(
          Check.Finding.shapes, .refuses, comparison.mismatched.map(\.name),
          "is stored as \(first.stored), but the class makes it \(first.expected)", Self.evidence))
    }
    add(
      Check.Finding(
        Check.Finding.incomplete, .refuses, comparison.incomplete,
        "is not stored, but others of its kind in the layer are", Self.evidence))
    add(
      Check.Finding(
        Check.Finding.missing, .random, comparison.missing,
        "is not stored under a name that the class knows: it starts at random", Self.evidence))
    let ignored = comparison.surplus.filter(isHarmless)
    add(
      Check.Finding(
        "class-ignored", .note, ignored, "is left out, and not used by the class", Self.evidence))
    add(
      Check.Finding(
        Check.Finding.surplus, .drops, comparison.surplus.filter { !isHarmless($0) },
        "the class has no such parameter: it is left out, with a warning at most", Self.evidence))
  }

  /// Tables of the rotation, which the class computes, and layers for multi-token prediction.
  private func isHarmless(_ name: String) -> Bool {
    name.hasSuffix("rotary_emb.inv_freq") && layout.family.mixer?.groupedQuery?.global == nil
      || layout.extraRouters.contains {
        name.hasPrefix($0.layer) && isPrediction($0.layer)
          || $0.layer.hasPrefix("mtp.") && name.hasPrefix("mtp.")
      }
      || layout.layers.contains {
        $0.index >= layout.layerCount && name.hasPrefix("\(layout.prefix)layers.\($0.index).")
      }
  }

  /// Whether a layer's prefix is one of those right behind the model's own, or has no such number.
  private func isPrediction(_ prefix: String) -> Bool {
    guard let match = prefix.firstMatch(of: /layers\.([0-9]{1,9})\./), let number = Int(match.1)
    else { return true }
    let count = layout.config?["num_nextn_predict_layers"]?.intValue ?? 1
    return number < layout.layerCount || number - layout.layerCount < max(count, 1)
  }
}
