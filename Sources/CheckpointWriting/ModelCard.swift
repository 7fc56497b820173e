// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import ExpertMaps
import Forms
import Foundation
import Measures
import ModelFitting
import OrderedCollections
import Reports
import Routing

/// The section that Regate adds to a model's README.md. What the original says, its front matter
/// above all, stays byte for byte; a section of an earlier conversion is replaced.
package enum ModelCard {
  package static let fileName = "README.md"
  package static let begin = "<!-- regate:begin -->"
  package static let end = "<!-- regate:end -->"

  // MARK: The file

  /// The README.md of an output, with `section` in it.
  package static func file(
    with section: String, beside checkpoint: SafetensorsCheckpoint
  ) throws(RegateError) -> OutputFile {
    guard checkpoint.sideFiles.contains(fileName) else {
      return OutputFile(name: fileName, segments: [.bytes(Array(section.utf8))])
    }
    let file = try MappedFile(path: checkpoint.directory + "/" + fileName)
    let text = try file.bytes(in: 0..<file.count)
    var output = OutputFile(name: fileName)
    if let old = self.section(in: text) {
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
  package static func section(in text: [UInt8]) -> Range<Int>? {
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

  // MARK: The section

  /// The section, marks included.
  package static func section(_ manifest: Manifest) -> String {
    let parts = parts(manifest)
    var lines = [
      begin, "## Balanced routing", "",
      "Made from `\(manifest.source)` by Regate \(RegateVersion.current): \(parts.deed) Every other "
        + "tensor has the original's bytes.",
      "", "| | |", "|---|---|", "| base model | `\(manifest.source)` |",
    ]
    lines += parts.rows.map { "| \($0.0) | \($0.1) |" }
    lines += ["", "### How to load", "", parts.howToLoad, end, ""]
    return lines.joined(separator: "\n")
  }

  private static func parts(
    _ manifest: Manifest
  ) -> (deed: String, rows: [(String, String)], howToLoad: String) {
    switch manifest.deed {
    case .conversion(let fit, let form, let file):
      return (
        (fit.origin.clones ? "hot experts are copied over hardly used ones; " : "")
          + "the routers are replaced by balanced ones.",
        [("router", form.rawValue)] + options(fit.origin, form, file) + figures(fit, form),
        form.output.howToLoad
      )
    case .placement(let map, let source):
      let rows = map.imbalance.map {
        (
          "busiest of \($0.ranks) ranks over the mean, before and after",
          "\(Format.number($0.before)), \(Format.number($0.after))"
        )
      }
      return (
        "experts are renumbered so that expert-parallel ranks carry equal load (lossless).",
        [("load", source)] + rows, StockOutput().howToLoad
      )
    }
  }

  /// The options that say how this output came to be.
  private static func options(
    _ origin: FitOrigin, _ form: RouterForm, _ file: String?
  ) -> [(String, String)] {
    let budget = origin.budget.field
    var rows = file.map { [("fit", $0)] } ?? []
    rows.append(
      (budget.name.replacingOccurrences(of: "_", with: " "), "\(budget.value)"))
    if form == .lpr { rows += [("encoder", origin.encoder), ("similarity", origin.similarity)] }
    if form.output.replacesGate {
      rows += [
        ("latent", origin.latentSize.map(String.init) ?? "auto"),
        ("refine", String(origin.refinementSteps)),
      ]
    }
    rows.append(("seed", String(origin.seed)))
    if origin.mtp { rows.append(("mtp", "true")) }
    func names(_ files: [String]) -> String { files.map { "`\($0)`" }.joined(separator: ", ") }
    rows.append(("calibration", names(origin.calibration)))
    if !origin.weights.isEmpty {
      rows.append(("weights", origin.weights.map { "\($0)" }.joined(separator: ", ")))
    }
    if !origin.protected.isEmpty { rows.append(("protect", names(origin.protected))) }
    return rows
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
