// SPDX-License-Identifier: Apache-2.0

import CheckpointWriting
public import Checkpoints
import ExpertMaps
import OrderedCollections
import Reports

extension PlacementRun {
  public var text: String {
    var table = TextTable(["ranks", "max/mean load", mapFile == nil ? "renumbered" : "by the map"])
    for entry in map.imbalance {
      table.append([
        String(entry.ranks), Format.number(entry.before), Format.number(entry.after),
      ])
    }
    var lines = [counted, table.render(), ""]
    lines += written?.lines ?? []
    if let mapFile, let entry = map.imbalance.first {
      lines.append(
        "Wrote \(mapFile.path) for \(entry.ranks) ranks with \(map.redundant) redundant experts.")
    }
    if let usage { lines.append(usage) }
    lines.append("Took \(Format.duration(seconds)).")
    return lines.joined(separator: "\n")
  }

  private var counted: String {
    let load =
      "Load from \(loadSource), \(Format.count(tokens)) tokens; figures are means over layers"
    guard let heldOutTokens else { return load + ", on the tokens that were planned for." }
    return load + " on \(Format.count(heldOutTokens)) held-out tokens."
  }

  /// What makes a runtime take the placement; nil where it needs nothing but the checkpoint.
  private var usage: String? {
    if let mapFile {
      return mapFile.format.file.usage(mapFile.path, redundant: map.redundant)
    }
    guard map.redundant > 0 else { return nil }
    // A rearrangement comes after three quarters of `step_interval` at the latest.
    return "vLLM: --enable-expert-parallel --enable-eplb --eplb-config "
      + #"'{"num_redundant_experts": \#(map.redundant), "step_interval": 1000000000}'"#
  }

  public var json: JSONValue {
    var json: JSONValue = [
      "load_source": .string(loadSource), "tokens": .integer(tokens),
      "held_out_tokens": heldOutTokens.map { .integer($0) } ?? .null,
      "redundant": .integer(map.redundant), "rank_max_over_mean": map.imbalanceJSON,
      "usage": .optional(usage),
    ]
    for (key, value) in Written.members(written) { json[key] = .some(value) }
    json["map"] =
      mapFile.map { file in
        [
          "file": .string(file.path), "format": .string(file.format.rawValue),
          "ranks": .integer(map.imbalance.first?.ranks ?? 0),
          "redundant": .integer(map.redundant), "before": .optional(map.imbalance.first?.before),
          "after": .optional(map.imbalance.first?.after),
        ]
      } ?? .some(.null)
    json["seconds"] = .number(seconds)
    return json
  }
}
