// SPDX-License-Identifier: Apache-2.0
//
// The library names fields of its requests in backquotes, as `maxLossIncrease`, and its commands by
// their types, as `Reversion`; on the command line they are options and commands.

import Checkpoints
import OrderedCollections
import RegateKit

enum OptionNames {
  private static let commands = [
    "CaptureRun": "regate capture", "Check": "regate check", "Conversion": "regate convert",
    "FitMerge": "regate fit --merge", "FitRun": "regate fit",
    "LoadDrift": "regate validate --drift",
    "PlacementRun": "regate place", "Reversion": "regate revert",
    "Validation": "regate validate",
  ]

  private static let options = [
    "bandwidth": "--bandwidth", "batches": "--batch", "budget": "--rank-slack",
    "calibration": "--calibration", "clones": "clones (--no-clones)",
    "counts": "--counts",
    "field": "--field", "fit": "--fit", "flops": "--flops", "html": "--html", "io": "--io",
    "layers": "--layers", "length": "--length",
    "machines": "--nodes", "map": "--map",
    "maxLossIncrease": "--max-loss-increase", "maxOutputError": "--max-output-error",
    "maxPerplexityIncrease": "--max-perplexity-increase",
    "maxTokens": "--max-tokens", "merge": "--merge", "mtp": "--mtp", "output": "--output",
    "part": "--part",
    "overwrite": "--overwrite", "perplexity": "--ppl-protocol", "protected": "--protect",
    "precision": "--precision", "pruned": "--prune",
    "rank": "--lora-rank", "ranks": "--ep", "redundant": "--redundant", "resume": "--resume",
    "router": "--router", "seed": "--seed", "similarity": "--similarity",
    "source": "--calibration or --fit", "strength": "--strength",
    "strengths": "--strengths",
    "targetGini": "--target-gini", "weights": "--weights",
  ]

  /// `text` with options for the fields and commands for the types that it names.
  static func spelled(_ text: String) -> String {
    let parts = text.split(separator: "`", omittingEmptySubsequences: false)
    guard parts.count > 2 else { return text }
    var result = String(parts[0])
    var index = 1
    while index < parts.count {
      let name = String(parts[index])
      // A closed pair of backquotes around a field or a type.
      if index + 1 < parts.count, let words = options[name] ?? commands[name] {
        result += words + parts[index + 1]
        index += 2
      } else {
        result += "`" + parts[index]
        index += 1
      }
    }
    return result
  }

  /// The same in every string of a report.
  static func spelled(_ value: JSONValue) -> JSONValue {
    switch value {
    case .string(let text): .string(spelled(text))
    case .array(let values): .array(values.map(spelled))
    case .object(let members): .object(members.mapValues(spelled))
    case .null, .bool, .integer, .number: value
    }
  }
}
