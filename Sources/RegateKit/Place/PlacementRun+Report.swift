// SPDX-License-Identifier: Apache-2.0

import CheckpointWriting
public import Checkpoints
import ExpertMaps
import OrderedCollections
import Reports

extension PlacementRun {
  public var text: String {
    var table = TextTable(["ranks", "max/mean load", mapPath == nil ? "renumbered" : "by the map"])
    for entry in map.imbalance {
      table.append([
        String(entry.ranks), Format.number(entry.before), Format.number(entry.after),
      ])
    }
    var lines = [
      "Load from \(loadSource), \(Format.count(tokens)) tokens; figures are means over layers.",
      table.render(), "",
    ]
    lines += written?.lines ?? []
    if let mapPath, let entry = map.imbalance.first {
      lines.append(
        "Wrote \(mapPath) for \(entry.ranks) ranks with \(redundant) redundant experts.")
    }
    lines.append("Took \(Format.duration(seconds)).")
    return lines.joined(separator: "\n")
  }

  public var json: JSONValue {
    var json: JSONValue = [
      "load_source": .string(loadSource), "tokens": .integer(tokens),
      "rank_max_over_mean": map.imbalanceJSON,
    ]
    for (key, value) in Written.members(written) { json[key] = .some(value) }
    json["map"] =
      mapPath.map { path in
        [
          "file": .string(path), "ranks": .integer(map.imbalance.first?.ranks ?? 0),
          "redundant": .integer(redundant), "before": .optional(map.imbalance.first?.before),
          "after": .optional(map.imbalance.first?.after),
        ]
      } ?? .some(.null)
    json["seconds"] = .number(seconds)
    return json
  }
}
