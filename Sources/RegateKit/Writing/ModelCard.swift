// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Reports

/// The section that Regate adds to a model's README.md. What the original says, its front matter
/// above all, stays byte for byte; a section of an earlier conversion is replaced.
struct ModelCard {
  static let fileName = "README.md"
  static let begin = "<!-- regate:begin -->"
  static let end = "<!-- regate:end -->"

  /// What the manifest says beside the files.
  let manifest: JSONValue
  let form: RouterForm

  /// The README.md of an output.
  func file(beside checkpoint: SafetensorsCheckpoint) throws(RegateError) -> OutputFile {
    guard checkpoint.sideFiles.contains(ModelCard.fileName) else {
      return OutputFile(name: ModelCard.fileName, segments: [.bytes(Array(section.utf8))])
    }
    let file = try MappedFile(path: checkpoint.directory + "/" + ModelCard.fileName)
    let text = file.bytes(in: 0..<file.count)
    var output = OutputFile(name: ModelCard.fileName)
    if let old = ModelCard.section(in: text) {
      output.append([
        .range(file, 0..<old.lowerBound), .bytes(Array(section.utf8)),
        .range(file, old.upperBound..<text.count),
      ])
    } else {
      let gap = text.isEmpty ? "" : text.last == 0x0A ? "\n" : "\n\n"
      output.append([.range(file, 0..<text.count), .bytes(Array((gap + section).utf8))])
    }
    return output
  }

  /// Where an earlier section lies in `text`, its line feed included.
  static func section(in text: [UInt8]) -> Range<Int>? {
    func find(_ mark: String, from start: Int) -> Int? {
      let mark = Array(mark.utf8)
      guard text.count >= mark.count, start <= text.count - mark.count else { return nil }
      return (start...text.count - mark.count).first { place in
        text[place] == mark[0] && text[place..<place + mark.count].elementsEqual(mark)
      }
    }
    guard let first = find(begin, from: 0), let last = find(end, from: first) else { return nil }
    let close = last + end.utf8.count
    return first..<(close < text.count && text[close] == 0x0A ? close + 1 : close)
  }

  /// The section, marks included.
  var section: String {
    let options = manifest["options"]
    let levers = options?["levers"]?.arrayValue?.compactMap(\.stringValue) ?? []
    let source = manifest["source"]?.stringValue ?? "?"
    let version = manifest["regate"]?.stringValue ?? "?"
    var lines = [
      ModelCard.begin, "## Balanced routing", "",
      "Made from `\(source)` by Regate \(version): "
        + "\(ModelCard.sentence(levers)) Every other tensor has the original's bytes.",
      "", "| | |", "|---|---|", "| base model | `\(source)` |",
      "| levers | \(levers.joined(separator: ", ")) |", "| router | \(form.rawValue) |",
    ]
    for key in optionKeys {
      guard let value = options?[key], !value.isNull, value != .bool(false), value != [] else {
        continue
      }
      let text = String(decoding: value.serialised(.compact), as: UTF8.self)
      lines.append(
        "| \(key.replacingOccurrences(of: "_", with: " ")) | "
          + "\(text.replacingOccurrences(of: "\"", with: "")) |")
    }
    let sets = options?["calibration"]?.arrayValue?.compactMap(\.stringValue) ?? []
    if !sets.isEmpty {
      lines.append("| calibration | \(sets.map { "`\($0)`" }.joined(separator: ", ")) |")
    }
    lines += figures + ["", "### How to load", "", howToLoad, ModelCard.end, ""]
    return lines.joined(separator: "\n")
  }

  /// The options that say how this output came to be, in the order of the table.
  private var optionKeys: [String] {
    let options = manifest["options"]
    let levers = options?["levers"]?.arrayValue?.compactMap(\.stringValue) ?? []
    // With a fit file, these are the fit's own and not known here.
    guard options?["fit"]?.isNull != false else { return ["fit", "mtp"] }
    guard levers.contains("route") else { return ["ranks", "imatrix", "mtp"] }
    return ["strength", "target_gini", "max_loss_increase", "max_output_error"]
      + (form == .lpr ? ["encoder", "similarity"] : [])
      + (form == .stock ? [] : ["latent", "refine"]) + [
        "seed", "ranks", "mtp", "weights", "protect",
      ]
  }

  private var figures: [String] {
    guard let figures = manifest["figures"], !figures.isNull else { return [] }
    var rows: [String] = []
    let layers = figures["layers"]?.arrayValue ?? []
    func row(_ label: String, _ path: String, _ key: String) {
      let values = layers.compactMap { $0[path]?[key]?.doubleValue }
      guard !values.isEmpty else { return }
      let mean = values.reduce(0, +) / Double(values.count)
      rows.append("| \(label) | \(Format.number(mean)) |")
    }
    let isHeldOut = layers.contains { $0["original_held_out"]?.isNull == false }
    let original = isHeldOut ? "original_held_out" : "original"
    row("Gini of the load, original (mean of layers)", original, "gini")
    if let gini = figures["held_out_gini"]?.doubleValue {
      rows.append("| Gini, new router, held-out tokens | \(Format.number(gini)) |")
    }
    row("least over most used expert, original", original, "min_max")
    row("least over most used expert, new router, held-out tokens", "held_out", "min_max")
    if let nll = figures["calibration_nll"], let old = nll["original"]?.doubleValue,
      let new = nll["patched"]?.doubleValue
    {
      rows.append(
        "| mean NLL on the calibration text, before and after | "
          + "\(Format.number(old, decimals: 4)), \(Format.number(new, decimals: 4)) |")
    }
    return rows
  }

  private static func sentence(_ levers: [String]) -> String {
    let deeds = [
      ("place", "experts are renumbered so that expert-parallel ranks carry equal load (lossless)"),
      ("clone", "hot experts are copied over hardly used ones"),
      ("route", "the routers are replaced by balanced ones"),
    ].filter { levers.contains($0.0) }.map(\.1)
    return deeds.joined(separator: "; ") + "."
  }

  private var howToLoad: String {
    switch form {
    case .lpr:
      """
      ```python
      from transformers import AutoModelForCausalLM
      model = AutoModelForCausalLM.from_pretrained("this folder", trust_remote_code=True)
      ```

      Needs `configuration_regate.py` and `modeling_regate.py` beside the weights. vLLM, SGLang, \
      llama.cpp and MLX do not know this router.
      """
    case .lprOfficial:
      """
      In the official code of Latent Prototype Routing, for further training: its \
      `model_type` and its names of tensors. transformers, vLLM, SGLang, llama.cpp and MLX do not \
      know this router.
      """
    case .stock: "As the base model: names, shapes and configuration are its own."
    }
  }
}
