// SPDX-License-Identifier: Apache-2.0
//
// The routed experts of one layer for all streams:
//
//   y_t = factor x sum over the token's experts of weight x expert(x_t)
//
// Experts are taken in waves whose outputs fit a buffer. In a wave threads share out the experts,
// those with very many rows in several tasks: the first to reach an expert decodes it, the last to
// finish with it drops it, so that about one more decoded expert per thread is alive. Outputs are
// added to their tokens, in the order of the experts. Waves and blocks depend on the routing only,
// never on the threads.

import Architectures
import ByteStorage
import Routing
import Tensors

struct RoutedExperts {
  let experts: LayerExperts
  let rows: ExpertRows
  /// Tokens per stream, T.
  let tokens: Int
  /// Of what is added.
  let factor: Float
  let threads: Int

  /// Floats in a wave's outputs: 64 MB.
  static let waveFloats = 16 << 20
  /// Rows per task, so that an expert is rarely waited for by a second thread.
  private static let taskRows = 4096
  /// Tokens per block when outputs are added up.
  private static let blockTokens = 512

  /// Rows of one expert that are worked on together.
  private struct Task: Sendable {
    let expert: SharedExpert
    let rows: Range<Int>
  }

  /// An expert that is decoded when the first of its tasks needs it.
  private final class SharedExpert: Sendable {
    let index: Int
    private struct State {
      var weights: Result<PackedExpert, RegateError>?
      var remaining: Int
    }
    private let state: Locked<State>

    init(_ index: Int, tasks: Int) {
      self.index = index
      state = Locked(State(weights: nil, remaining: tasks))
    }

    func weights(
      _ load: () throws(RegateError) -> PackedExpert
    ) throws(RegateError) -> PackedExpert {
      try state.withLock { state in
        let weights = state.weights ?? Result { () throws(RegateError) in try load() }
        state.weights = weights
        return weights
      }.get()
    }

    func finish() {
      state.withLock { state in
        state.remaining -= 1
        if state.remaining == 0 { state.weights = nil }
      }
    }
  }

  /// Adds the experts' weighted outputs for `inputs` to `outputs`; both have a panel [T,H] per
  /// stream. Streams may share an input panel.
  func run(
    _ inputs: [MatrixView], addingTo outputs: [MatrixView], progress: ProgressCounter
  ) throws(RegateError) {
    let layer = experts.layer
    let used = (0..<rows.experts).filter { !rows.range(of: $0).isEmpty }
    let limit = max(1, Self.waveFloats / layer.hiddenSize)
    let largest = used.map { rows.range(of: $0).count }.max() ?? 0
    let buffer = MatrixView(
      rows: min(max(limit, largest), rows.rows.count), columns: layer.hiddenSize)
    var next = 0
    while next < used.count {
      var end = next + 1
      let first = rows.range(of: used[next]).lowerBound
      while end < used.count, rows.range(of: used[end]).upperBound - first <= limit {
        end += 1
      }
      let wave = Array(used[next..<end])
      let results = buffer[0..<rows.range(of: used[end - 1]).upperBound - first]
      try apply(wave, inputs, results)
      add(results, of: wave, to: outputs)
      progress.advance(results.rows / layer.rule.topK)
      next = end
    }
  }

  /// Writes the outputs of all rows of the experts in `wave` to `results`.
  private func apply(
    _ wave: [Int], _ inputs: [MatrixView], _ results: MatrixView
  ) throws(RegateError) {
    let base = rows.range(of: wave[0]).lowerBound
    var tasks: [Task] = []
    for expert in wave {
      let blocks = rows.ranges(of: expert).flatMap { range in
        stride(from: range.lowerBound, to: range.upperBound, by: Self.taskRows).map {
          $0..<min($0 + Self.taskRows, range.upperBound)
        }
      }
      let shared = SharedExpert(expert, tasks: blocks.count)
      tasks += blocks.map { Task(expert: shared, rows: $0) }
    }
    let due = tasks
    let outcomes = mapBlocks(
      count: due.count, blockSize: 1, threads: threads
    ) { index, _ -> Result<Void, RegateError> in
      let task = due[index]
      defer { task.expert.finish() }
      return Result { () throws(RegateError) in
        let weights = try task.expert.weights { () throws(RegateError) in
          try experts.take(task.expert.index)
        }
        for start in stride(
          from: task.rows.lowerBound, to: task.rows.upperBound, by: PackedExpert.blockRows)
        {
          let rows = start..<min(start + PackedExpert.blockRows, task.rows.upperBound)
          let gathered = MatrixView(rows: rows.count, columns: experts.layer.hiddenSize)
          gather(rows, from: inputs, into: gathered)
          weights.apply(gathered, into: results[rows.lowerBound - base..<rows.upperBound - base])
        }
      }
    }
    for outcome in outcomes { try outcome.get() }
  }

  private func gather(_ range: Range<Int>, from inputs: [MatrixView], into target: MatrixView) {
    for (stream, input) in inputs.enumerated() {
      let part = rows.part(of: range, in: stream * tokens..<(stream + 1) * tokens)
      let indices = rows.rows[part].map { $0 - Int32(stream * tokens) }
      target[part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound]
        .gather(input, rows: indices[...])
    }
  }

  private func add(_ results: MatrixView, of wave: [Int], to outputs: [MatrixView]) {
    let base = rows.range(of: wave[0]).lowerBound
    for (stream, output) in outputs.enumerated() {
      forEachBlock(count: tokens, blockSize: Self.blockTokens, threads: threads) { _, block in
        let offset = stream * tokens
        let window = offset + block.lowerBound..<offset + block.upperBound
        for range in wave.flatMap(rows.ranges(of:)) {
          for row in rows.part(of: range, in: window) {
            output.add(
              results, row: row - base, times: factor * rows.weights[row],
              to: Int(rows.rows[row]) - offset)
          }
        }
      }
    }
  }
}
