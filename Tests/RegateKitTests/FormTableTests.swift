// SPDX-License-Identifier: Apache-2.0
//
// The table "which form for which runtime" of the documentation is what check's rules say of the
// outputs of every family. On a mismatch the test prints the table to put there.

import Architectures
import Foundation
import RegateKit
import Runtimes
import TestSupport
import Testing

/// One output of one family.
private struct FormOutput {
  let form: String
  let family: String
  let outcomes: [Check.Outcome]

  init(_ form: String, _ subject: CheckSubject) {
    self.form = form
    family = subject.family.title
    outcomes = Check(subject).outcomes
  }

  /// What Regate converts, as it is published: safetensors in the forms that the family has, and
  /// GGUF.
  static func all(_ folder: TemporaryDirectory) throws -> [FormOutput] {
    // Of families that are not run, nothing was checked in runtimes but transformers.
    // Of a model inside another one, what classes make of it is not known.
    let other = ["qwen3_vl_moe", "qwen3_omni_moe", "qwen3_5_moe", "mistral4"]
    let run = Family.all.filter { $0.mixer != nil && !other.contains($0.name) }
    let models = try run.map { family in
      let sample = try #require(
        ClassSample.all.first { family.huggingFace.modelTypes.contains($0.modelType) })
      let place = folder.url.appending(path: family.name)
      try sample.write(to: place) {
        guard family.hasPrototypeForm else { return }
        $0["rope_theta"] = 10000.0
        $0["rope_parameters"] = nil
        if family.name == "qwen3_moe" { $0["norm_topk_prob"] = true }
        if family.name == "deepseek_v3" { $0["topk_method"] = "noaux_tc" }
      }
      return try Model.open(place.path(percentEncoded: false))
    }
    func outputs(_ form: RouterForm, _ models: [Model], _ title: String = "") -> [FormOutput] {
      models.map {
        FormOutput(
          "`\(form.rawValue)`" + title,
          CheckSubject(planned: $0, form: form, keepsBiasType: false))
      }
    }
    let quantised = try [TinyModel.mixtral, .qwen3, .deepseek].map { try Model.open($0.gguf) }
    return outputs(.stock, models) + outputs(.stock, quantised, ", GGUF")
      + outputs(.lpr, models.filter(\.layout.family.hasPrototypeForm))
      + outputs(.lprOfficial, models.filter { $0.layout.family.official != nil })
  }
}

private struct FormTable {
  static let title = "| `--router` | runtime | families | | what to type |"
  private static let names: [Runtime: String] = [
    .vllm: "vLLM", .sglang: "SGLang", .mlx: "mlx-lm",
  ]
  private static let order: [Runtime] = [.transformers, .vllm, .sglang, .llamaCpp, .mlx]

  /// What a runtime does with the outputs of some families.
  private struct Row: Equatable {
    var runtimes: [String]
    var families: [String]
    let verdict: String
    let commands: String
  }

  let text: String

  init(_ outputs: [FormOutput]) {
    var lines = [Self.title, "|---|---|---|---|---|"]
    var forms: [String] = []
    for output in outputs where !forms.contains(output.form) { forms.append(output.form) }
    for form in forms {
      let outputs = outputs.filter { $0.form == form }
      var label = form
      for row in Self.rows(outputs) {
        let cells = [
          label, row.runtimes.joined(separator: ", "), Self.words(row.families, of: outputs),
          row.verdict, row.commands,
        ]
        lines.append("|" + cells.map { $0.isEmpty ? " |" : " \($0) |" }.joined())
        label = ""
      }
    }
    text = lines.joined(separator: "\n")
  }

  private static func words(_ families: [String], of outputs: [FormOutput]) -> String {
    if families.count == outputs.count, families.count > 4 { return "all" }
    // A list of nearly all says less than what it leaves out.
    let others = outputs.map(\.family).filter { !families.contains($0) }
    return families.count > 4
      ? "all but \(others.joined(separator: ", "))" : families.joined(separator: ", ")
  }

  /// Families of one runtime that fare alike share a row; so do runtimes with nothing to type.
  private static func rows(_ outputs: [FormOutput]) -> [Row] {
    var rows: [Row] = []
    for runtime in order {
      let first = rows.count
      for output in outputs {
        guard let outcome = output.outcomes.first(where: { $0.runtime == runtime }) else {
          continue
        }
        let row = row(outcome, output.family)
        if let place = rows[first...].firstIndex(where: {
          $0.verdict == row.verdict && $0.commands == row.commands
        }) {
          rows[place].families.append(output.family)
        } else {
          rows.append(row)
        }
      }
    }
    var merged: [Row] = []
    for row in rows {
      if let place = merged.firstIndex(where: {
        row.commands.isEmpty && $0.commands.isEmpty && $0.families == row.families
          && $0.verdict == row.verdict
      }) {
        merged[place].runtimes += row.runtimes
      } else {
        merged.append(row)
      }
    }
    return merged.filter { !$0.commands.isEmpty } + merged.filter(\.commands.isEmpty)
  }

  private static func row(_ outcome: Check.Outcome, _ family: String) -> Row {
    let commands = outcome.findings.compactMap(\.command)
    let versions = outcome.confirmed.map { ", run in " + $0.versions.joined(separator: ", ") }
    let loads = outcome.loads == true
    return Row(
      runtimes: [names[outcome.runtime] ?? outcome.runtime.rawValue], families: [family],
      verdict: outcome.verdict.rawValue + (loads ? versions ?? "" : ""),
      commands: loads ? commands.map { "`\($0)`" }.joined(separator: " or ") : "")
  }
}

@Test(arguments: ["README.md", "Sources/RegateKit/RegateKit.docc/Runtimes.md"])
func `the documented table of forms and runtimes is what check says`(_ page: String) throws {
  let folder = try TemporaryDirectory()
  let wanted = FormTable(try FormOutput.all(folder)).text
  let root = fixtures.deletingLastPathComponent()
  let text = try String(contentsOf: root.appending(path: page), encoding: .utf8)
  let found = text.split(separator: "\n", omittingEmptySubsequences: false)
    .drop { $0 != FormTable.title }.prefix { $0.hasPrefix("|") }.joined(separator: "\n")
  #expect(found == wanted, "put this table into \(page):\n\(wanted)")
}
