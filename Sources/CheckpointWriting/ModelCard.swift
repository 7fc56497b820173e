// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import ExpertMaps
import Forms
import Foundation
import Measures
import ModelFitting
import OrderedCollections
import Reports
import Routing

/// The section that Regate adds to a model's README.md. What the original says, its front matter
/// above all, stays byte for byte. A conversion replaces the section of an earlier one; a placement
/// changes nothing that such a section says, and is told of at its end.
enum ModelCard {
  static let fileName = "README.md"
  static let begin = "<!-- regate:begin -->"
  static let end = "<!-- regate:end -->"

  // MARK: The file

  /// The README.md of an output, which tells of what was done.
  static func file(
    telling manifest: Manifest, beside checkpoint: SafetensorsCheckpoint
  ) throws(RegateError) -> OutputFile {
    guard checkpoint.sideFiles.contains(fileName) else {
      return OutputFile(name: fileName, segments: [.bytes(Array(section(manifest).utf8))])
    }
    let file = try MappedFile(path: checkpoint.directory + "/" + fileName)
    let text = try file.bytes(in: 0..<file.count)
    let (replaced, new) = addition(of: manifest, to: text)
    return OutputFile(
      name: fileName,
      segments: [
        .range(file, 0..<replaced.lowerBound), .bytes(Array(new.utf8)),
        .range(file, replaced.upperBound..<text.count),
      ])
  }

  /// What is added to the card `text`, and the bytes whose place that takes.
  private static func addition(
    of manifest: Manifest, to text: [UInt8]
  ) -> (replaced: Range<Int>, new: String) {
    guard let old = place(in: text) else {
      let gap = text.isEmpty ? "" : text.last == 0x0A ? "\n" : "\n\n"
      return (text.count..<text.count, gap + section(manifest))
    }
    if case .placement(let map, let source) = manifest.deed {
      return (old.end..<old.end, chapter(on: map, source: source))
    }
    return (old.section, section(manifest))
  }

  /// Where an earlier section lies in `text`, its line feed included, and where its end mark
  /// begins.
  private static func place(in text: [UInt8]) -> (section: Range<Int>, end: Int)? {
    func find(_ mark: String, from start: Int) -> Int? {
      let mark = Array(mark.utf8)
      guard text.count >= mark.count, start <= text.count - mark.count else { return nil }
      return (start...text.count - mark.count).first { place in
        text[place] == mark[0] && text[place..<place + mark.count].elementsEqual(mark)
      }
    }
    guard let first = find(begin, from: 0), let last = find(end, from: first) else { return nil }
    let close = last + end.utf8.count
    return (first..<(close < text.count && text[close] == 0x0A ? close + 1 : close), last)
  }

  // MARK: The section

  /// The section, marks included.
  static func section(_ manifest: Manifest) -> String {
    let parts = parts(manifest)
    var lines = [
      begin, "## \(parts.title)", "",
      "Made from \(code(manifest.source)) by Regate \(RegateVersion.current): \(parts.deed) Every other "
        + "tensor has the original's bytes.",
      "", "| | |", "|---|---|", "| base model | \(code(manifest.source)) |",
    ]
    lines += parts.rows.map { "| \($0.0) | \($0.1) |" }
    lines += ["", "### How to load", "", manifest.form.output.howToLoad, end, ""]
    return lines.joined(separator: "\n")
  }

  private static func parts(
    _ manifest: Manifest
  ) -> (title: String, deed: String, rows: [(String, String)]) {
    let balanced = "Balanced routing"
    switch manifest.deed {
    case .conversion(let fit, let form, let file):
      let rows =
        [("router", form.rawValue)] + options(fit.origin, form, file) + figures(fit, form)
      if let count = fit.origin.budget.pruned {
        return (
          "Pruned experts",
          "\(count) experts of each layer, whose loss changes the layer's output least, are left "
            + "out; the others have their router rows as they were.", rows
        )
      }
      if fit.origin.budget.concentrates {
        return (
          "Concentrated routing",
          "the routers are replaced by ones that use fewer distinct experts for the same tokens.",
          rows
        )
      }
      return (
        balanced,
        (fit.origin.clones ? "hot experts are copied over hardly used ones; " : "")
          + "the routers are replaced by balanced ones.", rows
      )
    case .placement(let map, let source):
      return (
        balanced,
        "experts are renumbered so that expert-parallel ranks carry equal load (lossless).",
        [("load", source)] + imbalance(map)
      )
    }
  }

  /// What a section of an earlier deed gets at its end.
  private static func chapter(on map: ExpertMap, source: String) -> String {
    let figures = imbalance(map).map { "\($0.0): \($0.1)" }
    return """

      ### Experts renumbered

      Regate \(RegateVersion.current) then renumbered the experts so that expert-parallel ranks \
      carry equal load (lossless), by the load from \(source). \
      The \(figures.joined(separator: "; ")).

      """
  }

  private static func imbalance(_ map: ExpertMap) -> [(String, String)] {
    let started = map.redundant > 0 ? " with \(map.redundant) redundant experts of vLLM" : ""
    return map.imbalance.map {
      (
        "busiest of \($0.ranks) ranks over the mean, before and after\(started)",
        "\(Format.number($0.before)), \(Format.number($0.after))"
      )
    }
  }

  /// The options that say how this output came to be.
  private static func options(
    _ origin: FitOrigin, _ form: RouterForm, _ file: String?
  ) -> [(String, String)] {
    let budget = origin.budget.field
    var rows = file.map { [("fit", code($0))] } ?? []
    rows.append(
      (
        budget.name.replacingOccurrences(of: "_", with: " "),
        String(decoding: budget.value.serialised(.compact), as: UTF8.self)
      ))
    if form == .lpr { rows += [("encoder", origin.encoder), ("similarity", origin.similarity)] }
    if form.output.replacesGate {
      rows += [
        ("latent", origin.latentSize.map(String.init) ?? "auto"),
        ("refine", String(origin.refinementSteps)),
      ]
    }
    rows.append(("seed", String(origin.seed)))
    if origin.mtp { rows.append(("mtp", "true")) }
    func names(_ files: [String]) -> String { files.map(code).joined(separator: ", ") }
    rows.append(("calibration", names(origin.calibration)))
    if !origin.weights.isEmpty {
      rows.append(("weights", origin.weights.map { "\($0)" }.joined(separator: ", ")))
    }
    if !origin.protected.isEmpty { rows.append(("protect", names(origin.protected))) }
    return rows
  }

  /// A name as code that neither ends nor divides a cell of the table: entities and not backquotes,
  /// since a backslash before a bar is only taken away inside of tables.
  private static func code(_ name: String) -> String {
    let special: [Character: String] = ["&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"]
    guard name.contains(where: { special[$0] != nil || $0 == "`" || $0.isNewline }) else {
      return "`\(name)`"
    }
    let text = name.map { $0.isNewline ? " " : special[$0] ?? String($0) }.joined()
    return "<code>\(text.replacingOccurrences(of: "`", with: "&#96;"))</code>"
  }

  private static func figures(_ fit: ModelFit, _ form: RouterForm) -> [(String, String)] {
    var rows: [(String, String)] = []
    func mean(_ values: [Double?]) -> Double? {
      let known = values.compactMap { $0 }
      return known.isEmpty ? nil : known.reduce(0, +) / Double(known.count)
    }
    func row(_ label: String, _ values: [Double?]) {
      if let mean = mean(values) { rows.append((label, Format.number(mean))) }
    }
    let original = fit.figures.map(\.original.best.metrics)
    let heldOut = fit.figures.map { $0.evidence(of: form)?.heldOut?.metrics }
    row("Gini of the load, original (mean of layers)", original.map(\.gini))
    row("Gini, new router, held-out tokens", heldOut.map { $0?.gini })
    row("least over most used expert, original", original.map(\.minOverMax))
    row("least over most used expert, new router, held-out tokens", heldOut.map { $0?.minOverMax })
    if fit.origin.budget.concentrates {
      let distinct = fit.distinctExperts(form)
      row("distinct experts of \(RoutingFigures.batchTokens) tokens, original", [distinct.before])
      row("distinct experts of \(RoutingFigures.batchTokens) tokens, new router", [distinct.after])
    }
    if fit.isJudged(by: form), let quality = fit.quality {
      rows.append(
        (
          "mean NLL on the calibration text, before and after",
          "\(Format.number(quality.original, decimals: 4)), "
            + Format.number(quality.patched, decimals: 4)
        ))
    }
    return rows
  }
}
