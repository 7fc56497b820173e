// SPDX-License-Identifier: Apache-2.0

import Architectures
import CheckpointWriting
public import Checkpoints
import OrderedCollections
import Reports
import Runtimes

extension ConversionPlan {
  /// The plan as text for a terminal.
  public var text: String {
    var table = TextTable(
      ["layer", "router tensor", "router", "one expert", "clones at most"],
      alignments: [.left, .left, .right, .right, .right])
    for layer in layers {
      table.append([
        String(layer.index), layer.tensors.joined(separator: ", "),
        Format.bytes(layer.routerBytes), Format.bytes(layer.expertBytes),
        clones ? String(layer.cloneLimit) : "-",
      ])
    }
    var lines = [
      headline, "", "\(checkpoint): \(layout.family.title), \(container)", table.render(), "",
      extent,
    ]
    lines += layout.extraRouters.map(\.notice)
    lines += workLines
    lines.append("Loading (`Check` says why): \(check.summary).")
    lines += check.warnings.map { "warning: \($0)" }
    return lines.joined(separator: "\n")
  }

  /// How much is written where.
  private var extent: String {
    let routers = Format.bytes(layers.reduce(0) { $0 + $1.routerBytes })
    let most = Format.bytes(layers.reduce(0) { $0 + $1.cloneLimit * $1.expertBytes })
    if let pruned {
      return
        "Output: \(Format.bytes(outputBytes)) without \(pruned) experts of each layer and their "
        + "router rows; the rest byte-identical."
    }
    let changes = "routers \(routers)" + (clones ? ", clones at most \(most)" : "")
    switch output {
    case .checkpoint(.inPlace):
      return "In place: \(changes) are written over; an undo delta keeps what stood there."
    case .checkpoint(.delta): return "Delta: \(changes)."
    case .adapter: return "Adapter: the differences of routers of \(routers)."
    case .checkpoint(.copy), nil:
      return "Output: \(Format.bytes(outputBytes)), of which \(changes); the rest byte-identical."
    }
  }

  private var workLines: [String] {
    guard let work else {
      return [
        takesFit
          ? "Nothing is fitted: the fit is taken as it is."
          : "Memory: give `calibration` for an estimate."
      ]
    }
    var lines = [work.memory]
    if let hidden = work.hiddenStateBytes {
      lines.append(
        "The model is run on the tokens: of that, \(Format.bytes(hidden)) are hidden states, which "
          + "the state for `resume` also takes on the disk while it runs.")
    }
    if let time = work.time {
      let total = Format.duration(time.fitting + time.writing)
      lines.append(
        "Time: about \(total) on this machine as it is now, \(Format.duration(time.fitting)) of it "
          + "to fit" + (time.writing > 0 ? " and \(Format.duration(time.writing)) to write." : "."))
    }
    return lines
  }

  /// The plan as one JSON object.
  public var json: JSONValue {
    [
      "checkpoint": .string(checkpoint), "family": .string(family),
      "container": .string(container), "router": .string(form.rawValue),
      "output_bytes": .integer(outputBytes), "pruned_experts": pruned.map { .integer($0) } ?? .null,
      "router_bytes": .integer(layers.reduce(0) { $0 + $1.routerBytes }),
      "memory_bytes": work.map { .integer($0.memoryBytes) } ?? .null,
      "tokens": work.map { .integer($0.tokens) } ?? .null,
      "seconds": .optional(work?.time.map { $0.fitting + $0.writing }),
      "hidden_state_bytes": work?.hiddenStateBytes.map { .integer($0) } ?? .null,
      "check": check.json,
      "layers": .array(
        layers.map(\.json)),
      "left_alone": .array(leftAlone.map { .string($0) }),
    ]
  }
}

extension ConversionPlan.Layer: JSONRepresentable {
  /// The layer as one JSON object.
  public var json: JSONValue {
    [
      "index": .integer(index), "tensors": .array(tensors.map { .string($0) }),
      "router_bytes": .integer(routerBytes), "expert_bytes": .integer(expertBytes),
      "clone_limit": .integer(cloneLimit),
    ]
  }
}
