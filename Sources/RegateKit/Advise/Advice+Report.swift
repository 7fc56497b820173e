// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import Measures
import OrderedCollections
import Reports
import Runtimes

extension Advice {
  /// What the figures are on.
  var basis: String {
    let source =
      "Load from \(loadSource), \(Format.count(tokens)) tokens; figures are means over layers"
    guard let heldOutTokens else { return source + ", on the tokens that were planned for." }
    return source + " on \(Format.count(heldOutTokens)) held-out tokens."
  }

  /// Whether the loss of the whole model is known.
  private var knowsLoss: Bool {
    groups.contains { $0.rows.contains { !$0.isLossless && $0.lossIncrease != nil } }
  }

  /// What each option brings and costs.
  var table: TextTable {
    let sizes = groups.first?.rows.first?.batches.map(\.tokens) ?? []
    let lossTitle = knowsLoss ? "loss, nats" : "output error"
    var table = TextTable(
      ["ranks", "option", "busiest/mean"] + sizes.map { "time, \(Format.count($0))" }
        + [lossTitle, "to write", "memory per rank", ""],
      alignments: [.left, .left] + .init(repeating: .right, count: sizes.count + 5))
    for (place, group) in groups.enumerated() {
      if place > 0 { table.appendRule() }
      for row in group.rows {
        let times = group.times(row)
        table.append(
          [String(group.ranks), row.title, Format.number(row.imbalance)]
            + sizes.indices.map { Format.number(times?[$0], decimals: 2) }
            + [
              loss(row), Format.bytes(row.bytesToWrite), Format.bytes(row.expertBytes),
              row.option == group.choice?.row.option ? "do this" : "",
            ])
      }
    }
    return table
  }

  private func loss(_ row: Row) -> String {
    if row.isLossless { return "none" }
    return knowsLoss
      ? Format.signed(row.lossIncrease, decimals: 4) : Format.number(row.outputError)
  }

  /// The ranks batch by batch; nil where batches are not known.
  var batchTable: TextTable? {
    let sizes = groups.first?.rows.first?.batches ?? []
    guard !sizes.isEmpty else { return nil }
    var table = TextTable(
      ["ranks", "option"]
        + sizes.flatMap { size in
          let tokens = Format.count(size.tokens)
          return ["p50, \(tokens)", "p99, \(tokens)", "experts, \(tokens)"]
        }, alignments: [.left, .left] + .init(repeating: .right, count: 3 * sizes.count))
    for (place, group) in groups.enumerated() {
      if place > 0 { table.appendRule() }
      for row in group.rows {
        table.append(
          [String(group.ranks), row.title]
            + row.batches.flatMap {
              [
                Format.number($0.median), Format.number($0.p99),
                Format.number($0.experts, decimals: 2),
              ]
            })
      }
    }
    return table
  }

  /// What the columns mean.
  var notes: [String] {
    var notes = [
      "busiest/mean: load of the busiest rank over the mean, which the group waits for. To write: "
        + "tensors that change; a copy takes all \(Format.bytes(checkpointBytes)). Memory per rank: "
        + "routed experts on the fullest rank."
    ]
    let sizes = groups.first?.rows.first?.batches ?? []
    guard !sizes.isEmpty else { return notes + leftOut }
    let counts = sizes.map { "\($0.count) of \(Format.count($0.tokens))" }
    notes.append(
      "time: of the routed experts relative to now, on ranks of \(rate(roofline.flops))FLOP/s and "
        + "\(rate(roofline.bandwidth))B/s: per rank the longer of computing and of reading the distinct "
        + "experts, and the slowest rank counts. Exchange between ranks, attention and shared experts "
        + "are not in it.")
    notes.append(
      "p50, p99: busiest/mean that half and 99 % of the batches do not exceed (of fewer than 100: all). "
        + "experts: distinct ones that a rank reads for a batch. Batches "
        + "(\(Format.list(counts)) tokens, those of all ranks together) take tokens from all held-out "
        + "sequences in turn, from different places of each, as a server mixes requests.")
    return notes + remarks + leftOut
  }

  private func rate(_ value: Double) -> String {
    Format.number(value / 1e12, decimals: value < 1e13 ? 2 : 0) + " T"
  }

  /// What makes each option, and what loads it, one line each.
  var commandLines: [String] {
    groups.flatMap { group in
      group.rows.map { row in
        let loading = row.runtimes.map(\.rawValue).joined(separator: ", ")
        return
          "\(Format.count(group.ranks, of: "rank")), \(row.title) (\(loading.isEmpty ? "no runtime seen" : loading))"
          + (row.command.map { ": \($0)" } ?? "")
      }
    }
  }

  /// The report as text for a terminal.
  public var text: String {
    var lines = ["\(checkpoint): \(basis)"]
    lines += warnings.map { "warning: \($0)" }
    lines += ["", "Advice: \(sentence)", "", table.render(), ""]
    if let batchTable { lines += [batchTable.render(), ""] }
    lines += notes
    lines += ["", "What makes it, and which runtimes were seen to load it (`Check` says more):"]
    return (lines + commandLines).joined(separator: "\n")
  }

  /// The report as one JSON object.
  public var json: JSONValue {
    [
      "checkpoint": .string(checkpoint), "advice": .string(sentence),
      "load_source": .string(loadSource), "tokens": .integer(tokens),
      "held_out_tokens": heldOutTokens.map { .integer($0) } ?? .null,
      "roofline": ["flops": .number(roofline.flops), "bandwidth": .number(roofline.bandwidth)],
      "checkpoint_bytes": .integer(checkpointBytes), "ranks": .array(groups.map(\.json)),
      "remarks": .array(remarks.map { .string($0) }),
      "left_out": .array(leftOut.map { .string($0) }),
      "warnings": .array(warnings.map { .string($0) }),
    ]
  }
}

extension Advice.Group {
  fileprivate var json: JSONValue {
    [
      "ranks": .integer(ranks), "choice": .optional(choice?.row.option),
      "choice_without_memory": .optional(choice?.withoutMemory?.option),
      "options": .array(rows.map(json)),
    ]
  }

  private func json(_ row: Advice.Row) -> JSONValue {
    let times = times(row)
    return [
      "option": .string(row.option), "title": .string(row.title),
      "lossless": .bool(row.isLossless), "rank_max_over_mean": .optional(row.imbalance),
      "batches": .array(
        row.batches.enumerated().map { place, batch in
          var object = batch.json
          object["seconds"] = .number(row.seconds[place])
          object["relative_time"] = .optional(times?[place])
          return object
        }), "relative_time": .optional(time(row)),
      "nll_increase": .optional(row.lossIncrease), "output_error": .optional(row.outputError),
      "bytes_to_write": .integer(row.bytesToWrite),
      "expert_bytes_per_rank": .integer(row.expertBytes),
      "runtimes": .array(row.runtimes.map { .string($0.rawValue) }),
      "command": .optional(row.command),
    ]
  }
}
