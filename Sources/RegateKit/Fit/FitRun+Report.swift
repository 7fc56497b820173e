// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import Forms
import ModelFitting
import OrderedCollections
import Reports

extension FitRun {
  public var text: String {
    let report = FitReport(fit: fit, form: form)
    var lines = ["Figures of the form \(form.rawValue):"] + report.lines
    if let output {
      lines.append(
        "Wrote \(output): routers of \(fit.layerIndices.count) layers in the forms "
          + "\(fit.forms.map(\.rawValue).joined(separator: ", "))."
          + (fit.part == nil ? "" : " They are a part of a fit: `FitMerge` joins all parts."))
    }
    lines.append("Took \(Format.duration(seconds)).")
    return lines.joined(separator: "\n")
  }

  public var json: JSONValue {
    var json = fit.json(form)
    json["router"] = .string(form.rawValue)
    json["forms"] = .array(fit.forms.map { .string($0.rawValue) })
    json["output"] = .optional(output)
    json["part"] = .bool(fit.part != nil)
    json["seconds"] = .number(seconds)
    json["fit_seconds"] = FitReport(fit: fit, form: form).phases
    return json
  }
}
