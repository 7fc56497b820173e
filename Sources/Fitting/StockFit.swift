// SPDX-License-Identifier: Apache-2.0
//
// Distils routing over functions into what the architecture has: a linear gate [E,H], with a bias
// [E] that acts on selection only where there is one.
//
//   minimise  E|y' - y|² / E|y|²   subject to  |load_j / target_j - 1| <= slack for every slot j
//
// y is the layer's output under the original router, y' under the gate with the family's own top-K,
// both as seen from the routing weights of functions (SoftRouting.swift). Adam, from the functions'
// original rows. Clones start equal: at first they are drawn to clusters of their function's tokens
// (StockTargets.swift), and the pull fades.
//
// The constraints are kept by an augmented Lagrangian (Hestenes 1969, Powell 1969): a slot's price is
// a multiplier, which sums up counted load beyond the slack step after step, plus a penalty on the
// load as it is now. Without the penalty, prices and rows chase each other until slots die out.
//
// With a selection bias only the rows of cloned functions learn, all others keep the original's
// weights exactly, and the bias is solved at the end under the family's rule, in which clones count
// as the separate experts that a runtime takes them for.

import ByteStorage
import Foundation
import Routing
import Tensors

/// A linear gate in training.
struct StockFit {
  private let set: CalibrationSet
  private let prototype: PrototypeRouter
  private let stock: FitOptions.Stock
  private let options: FitOptions
  /// Root mean square of each input dimension, [H]: Adam's steps are of one size for inputs of unit
  /// scale.
  private let scale: [Float]
  /// The original's functions and their weights, before the family's scale.
  private let wanted: Assignment
  /// The slots, with clones by clusters, and weights that the gate is drawn to at first.
  private let cells: Assignment
  /// Share of the assignments that each slot is to take, [E].
  private let physicalTargets: [Double]
  /// Squared output norm of each function over the mean square of the layer's output, [F].
  private let importance: [Float]

  private static let batch = 1024
  /// Tokens of a batch that one thread takes at a time.
  private static let block = 256
  private static let steps = 1500
  /// Adam's first step at full strength, relative to a row that moves logits by their typical spread.
  private static let rate: Float = 0.01
  /// h of SoftRouting at full strength, relative to the typical spread.
  private static let temperature: Float = 0.15
  /// How fast multipliers follow relative overload, per step, and the penalty on it, both in parts
  /// of the output's mean square.
  private static let multiplierRate: Float = 0.0005
  private static let penalty: Float = 0.3
  /// Relative excess or lack of load that prices leave alone.
  private static let slack: Float = 0.075
  /// Weight of a clone's own cluster at the start, and the share of the steps after which it is 0.
  private static let pull: Float = 0.1
  private static let pullEnd: Float = 0.33
  /// Weight of equal shares in the pull, so that slots of little weight are drawn too.
  private static let evenShare: Float = 0.2

  /// What was learnt, the gate in its dtype.
  struct Result {
    var gate: Matrix
    var selectionBias: [Float]?
  }

  /// `set` are the tokens to train on; `norms` [F] the mean norms of the experts' outputs, where
  /// they are known.
  init(
    _ set: CalibrationSet, prototype: PrototypeRouter, norms: [Double]?, stock: FitOptions.Stock,
    options: FitOptions
  ) throws(RegateError) {
    self.set = set
    self.prototype = prototype
    self.stock = stock
    self.options = options
    let squares = set.inputs.columnMeanSquares(threads: options.threads)
    scale = squares.map { Float(max($0.squareRoot(), 1e-12)) }
    var cells = try StockTargets.assignment(
      set, prototype: prototype, scale: scale, seed: options.seed, threads: options.threads)
    let total = Double(set.tokens * cells.topK)
    physicalTargets = cells.load(experts: prototype.experts).map { Double($0) / total }
    cells.shareEvenly(Self.evenShare)
    self.cells = cells
    var wanted = set.assignment
    for entry in wanted.weights.indices { wanted.weights[entry] /= set.router.rule.scale }
    self.wanted = wanted
    importance = Self.importance(
      norms ?? [Double](repeating: 1, count: prototype.experts), wanted)
  }

  func train() -> Result {
    var gate = set.router.gate.gathering(rows: prototype.physicalToLogical)
    let learning = learningRows()
    if learning.contains(true) { descend(&gate, learning) }
    if stock.roundsGateToBF16 { gate.roundToBF16() }
    return Result(gate: gate, selectionBias: stock.hasSelectionBias ? solveBias(gate) : nil)
  }

  /// Rows that Adam may change.
  private func learningRows() -> [Bool] {
    let slots = prototype.physicalOfLogical
    return prototype.physicalToLogical.map { !stock.hasSelectionBias || slots[$0].count > 1 }
  }

  /// Functions that no sampled token may choose have no norm; they count as the smallest.
  private static func importance(_ norms: [Double], _ wanted: Assignment) -> [Float] {
    let smallest = norms.filter { $0 > 0 }.min() ?? 1
    let squares = norms.map { max($0, smallest) * max($0, smallest) }
    var sum = 0.0
    for (function, weight) in zip(wanted.experts, wanted.weights) {
      sum += Double(weight) * Double(weight) * squares[Int(function)]
    }
    let mean = sum / Double(wanted.tokens)
    return squares.map { mean > 0 ? Float($0 / mean) : 1 }
  }

  private func descend(_ gate: inout Matrix, _ learning: [Bool]) {
    let experts = gate.rows
    var adam = Adam(count: gate.values.count)
    var multipliers = [Float](repeating: 0, count: experts)
    var beyond = multipliers
    let bias = prototype.physicalToLogical.map { prototype.selectionBias[$0] }
    let selection = Selection(rule: prototype.rule, bias: stock.hasSelectionBias ? bias : nil)
    var load = physicalTargets
    var generator = SplitMix64(seed: options.seed)
    let spread = typicalSpread()
    // The less is to move, the nearer a soft border must be to the real one, and the shorter the steps:
    // else they alone cost more than the balance.
    let strength = Float(options.strength)
    let temperature = Self.temperature * strength * spread.compared
    let rate =
      Self.rate * strength.squareRoot() * spread.logit / Float(set.inputs.columns).squareRoot()
    var order: [Int] = []
    for step in 0..<Self.steps {
      if order.count < min(Self.batch, set.tokens) {
        order = Array(0..<set.tokens).shuffled(using: &generator)
      }
      let tokens = Array(order.suffix(Self.batch))
      order.removeLast(tokens.count)
      let progress = Float(step) / Float(Self.steps)
      let setting = SoftRouting.Setting(
        selection: selection, physicalToLogical: prototype.physicalToLogical,
        importance: importance,
        prices: zip(multipliers, beyond).map { $0 + Self.penalty * $1 },
        temperature: temperature, comparesScores: stock.hasSelectionBias,
        pull: Self.pull * max(0, 1 - progress / Self.pullEnd))
      var (gradient, counted) = slope(gate, tokens, setting)
      for row in 0..<experts where !learning[row] {
        for column in 0..<gate.columns { gradient[row, column] = 0 }
      }
      let decay = 0.5 * (1 + cosf(.pi * progress))
      adam.update(&gate, gradient: gradient, rate: rate * decay, units: scale)
      for slot in 0..<experts {
        let share = Double(counted[slot]) / Double(tokens.count * prototype.rule.topK)
        load[slot] = 0.9 * load[slot] + 0.1 * share
        let excess = Float(load[slot] / max(physicalTargets[slot], 1e-6) - 1)
        beyond[slot] = min(excess - min(max(excess, -Self.slack), Self.slack), 2)
        multipliers[slot] += Self.multiplierRate * beyond[slot]
      }
    }
  }

  /// The selection bias that gives every slot its target, shifted to minimum 0.
  private func solveBias(_ gate: Matrix) -> [Float] {
    var router = set.router
    router.gate = gate
    let scores = prototype.rule.scores(
      router.logits(set.inputs, threads: options.threads), threads: options.threads)
    let everySlot = [Bool](repeating: true, count: gate.rows)
    let bias = SelectionBiasSolver(
      rule: prototype.rule, selectable: everySlot, threads: options.threads
    ).solve(
      scores: scores, targets: physicalTargets,
      from: prototype.physicalToLogical.map { prototype.selectionBias[$0] })
    let lowest = bias.min() ?? 0
    return bias.map { $0 - lowest }
  }

  /// The gradient [E,H] over a minibatch, and its hard load.
  private func slope(
    _ gate: Matrix, _ tokens: [Int], _ setting: SoftRouting.Setting
  ) -> (Matrix, [Int]) {
    let topK = prototype.rule.topK
    let blocks = mapBlocks(
      count: tokens.count, blockSize: Self.block, threads: options.threads
    ) { _, rows in
      let inputs = set.inputs.gathering(rows: Array(tokens[rows]))
      let logits = LinearAlgebra.multiply(inputs, transposed: gate)
      var routing = SoftRouting(setting)
      var workspace = setting.selection.makeWorkspace()
      var load = [Int](repeating: 0, count: prototype.experts)
      var gradient: [Float] = []
      gradient.reserveCapacity(logits.values.count)
      for (row, token) in tokens[rows].enumerated() {
        let entries = token * topK..<(token + 1) * topK
        routing.descend(
          logits: logits.values.span.extracting(row * gate.rows..<(row + 1) * gate.rows),
          wanted: .init(places: wanted.experts[entries], values: wanted.weights[entries]),
          cells: .init(places: cells.experts[entries], values: cells.weights[entries]),
          workspace: &workspace, load: &load, gradient: &gradient)
      }
      let slopes = Matrix(rows: rows.count, columns: gate.rows, values: gradient)
      return (load, LinearAlgebra.multiply(slopes.transposed(), inputs))
    }
    var load = [Int](repeating: 0, count: prototype.experts)
    var gradient = Matrix(rows: gate.rows, columns: gate.columns)
    for block in blocks {
      for slot in load.indices { load[slot] += block.0[slot] }
      for index in gradient.values.indices { gradient.values[index] += block.1.values[index] }
    }
    return (gradient, load)
  }

  /// The mean distance from a token's best to its first unchosen expert, in logits and in what
  /// selection compares.
  private func typicalSpread() -> (logit: Float, compared: Float) {
    let sample = set.sample(1024)
    let comparesScores =
      stock.hasSelectionBias || prototype.rule.scoring == .sigmoid
      || prototype.rule.scoring == .sqrtSoftplus
    let scores =
      comparesScores
      ? prototype.rule.scores(sample.logits, threads: 1) : sample.logits
    return (
      sample.logits.meanSpread(rank: prototype.rule.topK),
      scores.meanSpread(rank: prototype.rule.topK)
    )
  }
}

extension Assignment {
  /// Makes each token's weights sum to 1 and mixes them with `share` of equal ones.
  fileprivate mutating func shareEvenly(_ share: Float) {
    let even = 1 / Float(topK)
    for token in 0..<tokens {
      let entries = token * topK..<(token + 1) * topK
      let sum = weights[entries].reduce(0, +)
      for entry in entries {
        weights[entry] = (1 - share) * (sum > 0 ? weights[entry] / sum : even) + share * even
      }
    }
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
