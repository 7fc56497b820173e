// SPDX-License-Identifier: Apache-2.0
//
// Distils the native router into what the architecture has: a linear gate [E,H], with a bias [E]
// that acts on selection only where there is one.
//
//   minimise  E[-sum_j p_j log q_j]   subject to  |load_j / target_j - 1| <= slack for every slot j
//
// p: the native weights on clustered slots (StockTargets.swift), q: SoftRouting.swift. Adam, from
// the functions' original rows. Without a selection bias all rows learn, and the constraints'
// multipliers (prices) rise with the counted overload of real top-K routing beyond the slack in
// every minibatch and fall with such underload. With one, only the rows of cloned functions learn,
// all others keep the original's weights exactly, and the bias is solved under the family's rule,
// in which clones count as the separate experts that a runtime takes them for.

import ByteStorage
import Foundation
import Routing
import Tensors

/// A linear gate in training.
struct StockFit {
  private let set: CalibrationSet
  private let native: PrototypeRouter
  private let stock: FitOptions.Stock
  private let options: FitOptions
  /// Root mean square of each input dimension, [H]: training sees inputs of unit scale.
  private let scale: [Float]
  /// The slots and weights that the gate is to give each token.
  private let wanted: Assignment
  /// Share of the assignments that each slot is to take, [E].
  private let slotTargets: [Double]

  private static let batch = 1024
  private static let steps = 1500
  /// Adam's first step, relative to a row that moves logits by their typical spread.
  private static let rate: Float = 0.02
  /// h of SoftRouting, relative to the typical spread.
  private static let temperature: Float = 0.25
  /// How fast prices follow relative overload, per step.
  private static let priceRate: Float = 0.001
  /// Relative excess or lack of load that prices leave alone: the last part of the balance costs a
  /// linear gate most.
  private static let slack: Float = 0.2
  /// Weight of equal shares in the targets.
  private static let evenShare: Float = 0.2

  /// What was learnt, the gate in its dtype.
  struct Result {
    var gate: Matrix
    var selectionBias: [Float]?
  }

  /// `set` are the tokens to train on.
  init(
    _ set: CalibrationSet, native: PrototypeRouter, stock: FitOptions.Stock, options: FitOptions
  ) throws(RegateError) {
    self.set = set
    self.native = native
    self.stock = stock
    self.options = options
    let squares = set.inputs.columnMeanSquares(threads: options.threads)
    scale = squares.map { Float(max($0.squareRoot(), 1e-12)) }
    wanted = try StockTargets.assignment(
      set, native: native, scale: scale, seed: options.seed, threads: options.threads)
    let total = Double(set.tokens * wanted.topK)
    slotTargets = wanted.load(experts: native.experts).map { Double($0) / total }
  }

  func train() -> Result {
    var gate = initialGate()
    let learning = learningRows()
    if learning.contains(true) { descend(&gate, learning) }
    for row in 0..<gate.rows {
      for column in 0..<gate.columns { gate[row, column] /= scale[column] }
    }
    for (row, function) in native.slotFunction.enumerated() where !learning[row] {
      // As they were, to the bit: scaling back and forth rounds.
      for column in 0..<gate.columns { gate[row, column] = set.router.gate[function, column] }
    }
    if stock.roundsGateToBF16 { gate.roundToBF16() }
    return Result(gate: gate, selectionBias: stock.hasSelectionBias ? solveBias(gate) : nil)
  }

  /// Rows that Adam may change.
  private func learningRows() -> [Bool] {
    let slots = native.slotsOfFunction
    return native.slotFunction.map { !stock.hasSelectionBias || slots[$0].count > 1 }
  }

  private func descend(_ gate: inout Matrix, _ learning: [Bool]) {
    let experts = gate.rows
    var adam = Adam(count: gate.values.count)
    var prices = [Float](repeating: 0, count: experts)
    let bias = native.slotFunction.map { native.functionPotentials[$0] }
    let selection = Selection(rule: native.rule, bias: stock.hasSelectionBias ? bias : nil)
    var load = slotTargets
    var generator = SplitMix64(seed: options.seed)
    let spread = typicalSpread()
    let rate = Self.rate * spread.logit / Float(set.inputs.columns).squareRoot()
    var order: [Int] = []
    for step in 0..<Self.steps {
      if order.count < min(Self.batch, set.tokens) {
        order = Array(0..<set.tokens).shuffled(using: &generator)
      }
      let tokens = Array(order.suffix(Self.batch))
      order.removeLast(tokens.count)
      var (gradient, counted) = slope(
        gate, tokens, selection: selection, prices: prices,
        temperature: Self.temperature * spread.compared)
      for row in 0..<experts where !learning[row] {
        for column in 0..<gate.columns { gradient[row, column] = 0 }
      }
      let decay = 0.5 * (1 + cosf(.pi * Float(step) / Float(Self.steps)))
      adam.update(&gate, gradient: gradient, rate: rate * decay)
      if stock.hasSelectionBias { continue }
      for slot in 0..<experts {
        let share = Double(counted[slot]) / Double(tokens.count * native.rule.topK)
        load[slot] = 0.9 * load[slot] + 0.1 * share
        let excess = Float(load[slot] / max(slotTargets[slot], 1e-6) - 1)
        let beyond = excess - min(max(excess, -Self.slack), Self.slack)
        prices[slot] += Self.priceRate * min(beyond, 2)
      }
    }
  }

  /// The selection bias that gives every slot its target, shifted to minimum 0.
  private func solveBias(_ gate: Matrix) -> [Float] {
    var router = set.router
    router.gate = gate
    let scores = native.rule.scores(
      router.logits(set.inputs, threads: options.threads), threads: options.threads)
    let everySlot = [Bool](repeating: true, count: gate.rows)
    let bias = FunctionPotentials(
      rule: native.rule, selectable: everySlot, threads: options.threads
    ).solve(
      scores: scores, targets: slotTargets,
      from: native.slotFunction.map { native.functionPotentials[$0] })
    let lowest = bias.min() ?? 0
    return bias.map { $0 - lowest }
  }


  /// Function rows, in scaled coordinates.
  private func initialGate() -> Matrix {
    var gate = set.router.gate.gathering(rows: native.slotFunction)
    for row in 0..<gate.rows {
      for column in 0..<gate.columns { gate[row, column] *= scale[column] }
    }
    return gate
  }

  /// The gradient [E,H] over a minibatch, and its hard load.
  private func slope(
    _ gate: Matrix, _ tokens: [Int], selection: Selection, prices: [Float], temperature: Float
  ) -> (Matrix, [Int]) {
    var inputs = set.inputs.gathering(rows: tokens)
    for row in 0..<inputs.rows {
      for column in 0..<inputs.columns { inputs[row, column] /= scale[column] }
    }
    let logits = LinearAlgebra.multiply(inputs, transposed: gate, threads: options.threads)
    let blocks = mapBlocks(
      count: tokens.count, blockSize: 128, threads: options.threads
    ) { _, rows in
      var routing = SoftRouting(
        selection: selection, prices: prices, temperature: temperature,
        comparesScores: stock.hasSelectionBias)
      var load = [Int](repeating: 0, count: native.experts)
      var gradient: [Float] = []
      gradient.reserveCapacity(rows.count * logits.columns)
      let width = logits.columns
      var targets = [Float](repeating: 0, count: width)
      for row in rows {
        setTargets(of: tokens[row], &targets)
        routing.descend(
          logits: logits.values.span.extracting(row * width..<(row + 1) * width),
          targets: targets, load: &load, gradient: &gradient)
      }
      return (load, gradient)
    }
    var load = [Int](repeating: 0, count: native.experts)
    for block in blocks { for slot in load.indices { load[slot] += block.0[slot] } }
    let scaled = Matrix(
      rows: tokens.count, columns: logits.columns, values: blocks.flatMap(\.1))
    var gradient = LinearAlgebra.multiply(scaled.transposed(), inputs)
    for index in gradient.values.indices { gradient.values[index] /= Float(tokens.count) }
    return (gradient, load)
  }

  /// p of one token: its wanted weights, mixed with equal shares so that slots of little weight
  /// are learnt too.
  private func setTargets(of token: Int, _ targets: inout [Float]) {
    for slot in targets.indices { targets[slot] = 0 }
    let entries = token * wanted.topK..<(token + 1) * wanted.topK
    let sum = wanted.weights[entries].reduce(0, +)
    let even = 1 / Float(wanted.topK)
    for entry in entries {
      let weight = sum > 0 ? wanted.weights[entry] / sum : even
      targets[Int(wanted.slots[entry])] = (1 - Self.evenShare) * weight + Self.evenShare * even
    }
  }

  /// The mean distance from a token's best to its first unchosen expert, in logits and in what
  /// selection compares.
  private func typicalSpread() -> (logit: Float, compared: Float) {
    let sample = set.sample(1024)
    let comparesScores = stock.hasSelectionBias || native.rule.scoring == .sigmoid
      || native.rule.scoring == .sqrtSoftplus
    let scores = comparesScores
      ? native.rule.scores(sample.logits, threads: 1) : sample.logits
    return (
      sample.logits.meanSpread(rank: native.rule.topK), scores.meanSpread(rank: native.rule.topK)
    )
  }
}

extension Matrix {
  /// The mean over rows of the distance from the largest to the `rank`-th next value.
  func meanSpread(rank: Int) -> Float {
    var sum = 0.0
    for index in 0..<rows {
      let sorted = row(index).sorted(by: >)
      let spread = Double(sorted[0] - sorted[min(rank, columns - 1)])
      if spread.isFinite { sum += spread }
    }
    return sum > 0 ? Float(sum / Double(rows)) : 1e-3
  }

  /// The mean of squares of each column, in Double.
  func columnMeanSquares(threads: Int) -> [Double] {
    let partials = mapBlocks(count: rows, blockSize: 4096, threads: threads) { _, range in
      var sums = [Double](repeating: 0, count: columns)
      for row in range {
        for column in 0..<columns {
          let value = Double(values[row * columns + column])
          sums[column] += value * value
        }
      }
      return sums
    }
    var total = [Double](repeating: 0, count: columns)
    for partial in partials { for column in 0..<columns { total[column] += partial[column] } }
    return total.map { $0 / Double(max(1, rows)) }
  }
}
