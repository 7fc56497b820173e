// SPDX-License-Identifier: Apache-2.0

import Architectures
import CheckpointWriting
public import Checkpoints
import ModelFitting
import OrderedCollections
import Reports

extension Conversion {
  public var text: String {
    var lines = FitReport(fit: fit, form: form).lines
    lines += plan.layout.extraRouters.map(\.notice)
    lines += written?.lines ?? []
    if let adapter {
      lines.append(
        "Wrote a LoRA adapter of rank \(adapter.rank), \(Format.bytes(adapter.byteCount)); it changes "
          + "routers only. Largest relative error of a gate's difference: "
          + "\(Format.number(adapter.largestError, decimals: 6)).")
    }
    lines.append("Took \(Format.duration(seconds)).")
    return lines.joined(separator: "\n")
  }

  public var json: JSONValue {
    var json: JSONValue = ["plan": plan.json]
    for (key, value) in fit.json(form).objectValue ?? [:] { json[key] = value }
    for (key, value) in Written.members(written) { json[key] = .some(value) }
    json["lora"] =
      adapter.map {
        [
          "rank": .integer($0.rank), "bytes": .integer($0.byteCount),
          "largest_error": .number($0.largestError),
        ]
      } ?? .some(.null)
    json["seconds"] = .number(seconds)
    json["fit_seconds"] =
      isNewFit ? FitReport(fit: fit, form: form).phases : .some(.null)
    return json
  }
}
