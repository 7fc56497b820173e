// SPDX-License-Identifier: Apache-2.0
//
// Distils routing over logical experts into what the architecture has: a linear gate [E,H], with a
// bias [E] on its logits, and one that acts on selection only, where there are such.
//
//   minimise  E|y' - y|² / E|y|²   subject to  |load_j / target_j - 1| <= slack for every expert j
//
// y is the layer's output under the original router, y' under the gate with the family's own top-K,
// both as seen from the routing weights of logical experts (SoftRouting.swift). Adam, from the
// logical experts' original rows. Clones start equal: at first they are drawn to clusters of their
// logical expert's tokens (StockTargets.swift), and the pull fades.
// A bias on the logits is the row's weight of an input that is always 1, and learns with the row.
// The constraints are kept by an augmented Lagrangian (Hestenes 1969, Powell 1969): an expert's
// price is a multiplier, which sums up counted load beyond the slack step after step, plus a
// penalty on the load as it is now. Without the penalty, prices and rows chase each other until
// experts die out.
//
// With a selection bias only the rows of cloned experts learn, all others keep the original's
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
  /// The original's choice and its weights, before the family's scale.
  private let wanted: Assignment
  /// The physical experts, with clones by clusters, and weights that the gate is drawn to at first.
  private let cells: Assignment
  /// Share of the assignments that each physical expert is to take, [E].
  private let physicalTargets: [Double]
  /// Squared output norm of each logical expert over the mean square of the layer's output, [F].
  private let importance: [Float]
  /// Relative excess or lack of load that prices leave alone.
  private let slack: Float

  // Figures: Gini and output error (single layers, by a prototype in PyTorch) or loss in nats
  // (whole models), on held-out tokens; HowItWorks.md names the models.

  /// Tokens of a step, and of them those that one thread takes at a time. On a Qwen3-MoE and a
  /// Mixtral, loads then made exact, 1,500 steps of 1,024 tokens gave 0.051, +0.076 and 0.029,
  /// +0.052, 6,000 of 256 gave 0.051, +0.053 and 0.031, +0.045; 20,000 of 256 gave 0.051, +0.049
  /// and 0.030, +0.054. (All by the prototype, as the next; the first at a rate of 0.01 and a
  /// constant temperature gave +0.070 and +0.061.) Over five pairs of a model and a text, three
  /// seeds, 6,000 steps gave a mean of 0.053, +0.0226, the 4,000 of today 0.053, +0.0231.
  ///
  /// Few tokens are learnt by heart in so many, so that a token is in 128 steps, or there are
  /// 1,000. (From 2,048 tokens of a Mixtral and a Qwen3-MoE 4,000 gave 0.110, +0.064 and 0.126,
  /// +0.117, 1,000 0.108, +0.047 and 0.123, +0.099.)
  private static let batch = 256
  private static let block = 128
  private static let passes = 128
  private static let fewestSteps = 1000
  private static let mostSteps = 4000
  /// Weights of a gate below which a step is not worth a second thread.
  private static let smallGate = 4096
  /// Adam's first step at full strength, relative to a row that moves logits by their typical
  /// spread: 0.005, 0.01 and 0.02 gave +0.072, +0.070 and +0.065 on the Qwen3-MoE, +0.066, +0.061
  /// and +0.063 on the Mixtral. That it shrinks with the strength, and the temperature too, brings
  /// at strength 0.2 on a Qwen3-MoE +0.0160 nats instead of +0.0239.
  private static let rate: Float = 0.02
  /// h of SoftRouting at full strength, relative to the typical spread, and the part of it that is
  /// left at the end: a border that is soft while experts find their places, and nearly the real
  /// one at last. Down to 0.2: +0.053 and +0.050; to 0.05: +0.048 and +0.042.
  private static let temperature: Float = 0.15
  private static let lastTemperature: Float = 0.05
  // SoftRouting's k grows from 0 to 1 with the third power of the steps taken. At 0 a GPT-OSS with
  // dead experts kept rows 0.001 apart, now 0.06; on the two models the mean loss is the same.

  /// How far multipliers follow a relative overload that stays for all steps, and the penalty on
  /// it, in parts of the output's mean square. With the penalty three layers had Gini 0.090, output
  /// error 0.244 and 0.103, 0.247 and 0.120, 0.252 (loads within 20 %); without, experts died:
  /// 0.136, 0.258 and 0.191, 0.342 and 0.375, 0.362. Four times as far took a Qwen3-MoE and a
  /// Mixtral from 0.057, +0.019 and 0.053, +0.019 to 0.049, +0.026 and 0.042, +0.021. Behind a
  /// sparse mixer, whose weights are near 1, prices must rise further: with the usual reach six
  /// synthetic layers kept Ginis of 0.03 to 0.10, with this one 0.02 to 0.04.
  private static let multiplierReach: Float = 3
  private static let sparseMixerMultiplierReach: Float = 12
  private static let penalty: Float = 0.3
  /// What a step leaves of the load that the steps before it counted.
  private static let memory = 0.97
  /// `slack` where the layer's share of the residual stream is usual or not known: the place on the
  /// curve of balance and loss. On the two models 0.075 gave 0.059, +0.044 and 0.046, +0.033; 0.03
  /// gave 0.051, +0.051 and 0.035, +0.043.
  private static let slack: Float = 0.05
  /// Weight of a clone's own cluster at the start, and the share of the steps after which it is 0.
  /// Not measured apart.
  private static let pull: Float = 0.1
  private static let pullEnd: Float = 0.33
  /// Weight of equal shares in the pull, so that experts of little weight are drawn too. Not
  /// measured apart.
  private static let evenShare: Float = 0.2

  /// What learns.
  private struct Gate {
    /// [E,H]
    var rows: Matrix
    /// [1,E]; nothing where the architecture has none.
    var bias: Matrix?

    func logits(_ inputs: Matrix) -> Matrix {
      var logits = LinearAlgebra.multiply(inputs, transposed: rows)
      if let bias { logits.add(toEachRow: bias.values) }
      return logits
    }
  }

  /// `set` are the tokens to train on; `norms` [F] the mean norms of the experts' outputs, where
  /// they are known, as is `cost`.
  init(
    _ set: CalibrationSet, prototype: PrototypeRouter, cost: BalanceCost?, norms: [Double]?,
    stock: FitOptions.Stock, options: FitOptions
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
    slack = Self.slack * (cost?.slack ?? 1)
    importance = Self.importance(
      norms ?? [Double](repeating: 1, count: prototype.experts), wanted)
  }

  /// What was learnt, in its dtypes.
  func train() throws(RegateError) -> LayerFit.Stock {
    func physical(_ bias: [Float]?) -> [Float]? {
      bias.map { bias in prototype.physicalToLogical.map { bias[$0] } }
    }
    var gate = Gate(
      rows: set.router.gate.gathering(rows: prototype.physicalToLogical),
      bias: physical(set.router.logitBias).map { Matrix(row: $0) })
    let learning = learningRows()
    if isOnlyRenumbered(learning) {
      return LayerFit.Stock(
        gate: gate.rows, logitBias: gate.bias?.values,
        selectionBias: physical(set.router.selectionBias))
    }
    if learning.contains(true) { descend(&gate, learning) }
    gate.rows.values = try TensorEncoder.rounded(gate.rows.values, to: stock.gateType)
    if let bias = gate.bias {
      gate.bias?.values = try TensorEncoder.rounded(bias.values, to: stock.logitBiasType)
    }
    return LayerFit.Stock(
      gate: gate.rows, logitBias: gate.bias?.values,
      selectionBias: stock.hasSelectionBias ? solveBias(gate) : nil)
  }

  /// Rows that Adam may change.
  private func learningRows() -> [Bool] {
    let copies = prototype.physicalOfLogical
    let learnAll = !stock.hasSelectionBias && (options.ranks == nil || isBiased)
    return prototype.physicalToLogical.map { learnAll || copies[$0].count > 1 }
  }

  /// Whether tokens are to go elsewhere than the original sends them, clones and pruned experts
  /// aside.
  private var isBiased: Bool {
    prototype.selectionBias
      != set.router.selectionBias ?? [Float](repeating: 0, count: prototype.experts)
  }

  /// Whether the experts lie elsewhere and all else is as it was.
  private func isOnlyRenumbered(_ learning: [Bool]) -> Bool {
    options.ranks != nil && !learning.contains(true) && !isBiased
  }

  /// Experts that no sampled token may choose have no norm; they count as the smallest.
  private static func importance(_ norms: [Double], _ wanted: Assignment) -> [Float] {
    let smallest = norms.filter { $0 > 0 }.min() ?? 1
    let squares = norms.map { max($0, smallest) * max($0, smallest) }
    var sum = 0.0
    for (logical, weight) in zip(wanted.experts, wanted.weights) {
      sum += Double(weight) * Double(weight) * squares[Int(logical)]
    }
    let mean = sum / Double(wanted.tokens)
    return squares.map { mean > 0 ? Float($0 / mean) : 1 }
  }

  private func descend(_ gate: inout Gate, _ learning: [Bool]) {
    let experts = gate.rows.rows
    var adam = Adam(count: gate.rows.values.count)
    var biasAdam = Adam(count: experts)
    var multipliers = [Float](repeating: 0, count: experts)
    var beyond = multipliers
    let selection = Selection(
      rule: prototype.rule, bias: stock.hasSelectionBias ? startingBias() : nil)
    var load = physicalTargets
    var generator = SplitMix64(seed: options.seed)
    let spread = typicalSpread()
    // The less is to move, the nearer a soft border must be to the real one, and the shorter the
    // steps: else they alone cost more than the balance.
    let strength = Float(abs(options.strength))
    let temperature = Self.temperature * strength * spread.compared
    let cooling = logf(Self.lastTemperature)
    let rate =
      Self.rate * strength.squareRoot() * spread.logit / Float(set.inputs.columns).squareRoot()
    let steps = min(max(set.tokens * Self.passes / Self.batch, Self.fewestSteps), Self.mostSteps)
    let multiplierReach =
      prototype.rule.scoring == .sparseMixer
      ? Self.sparseMixerMultiplierReach : Self.multiplierReach
    let multiplierRate = multiplierReach / Float(steps)
    var order: [Int] = []
    for step in 0..<steps {
      if order.count < min(Self.batch, set.tokens) {
        order = Array(0..<set.tokens).shuffled(using: &generator)
      }
      let tokens = Array(order.suffix(Self.batch))
      order.removeLast(tokens.count)
      let progress = Float(step) / Float(steps)
      let setting = SoftRouting.Setting(
        selection: selection, physicalToLogical: prototype.physicalToLogical,
        importance: importance,
        prices: zip(multipliers, beyond).map { $0 + Self.penalty * $1 },
        temperature: temperature * expf(cooling * progress), comparesScores: stock.hasSelectionBias,
        doubtPrice: progress * progress * progress,
        pull: Self.pull * max(0, 1 - progress / Self.pullEnd))
      var (gradient, biasGradient, counted) = gradient(gate, tokens, setting)
      for row in 0..<experts where !learning[row] {
        for column in 0..<gradient.columns { gradient[row, column] = 0 }
        biasGradient[0, row] = 0
      }
      let decay = 0.5 * (1 + cosf(.pi * progress))
      adam.update(&gate.rows, gradient: gradient, rate: rate * decay, units: scale)
      if var bias = gate.bias {
        biasAdam.update(&bias, gradient: biasGradient, rate: rate * decay)
        gate.bias = bias
      }
      // A row that does not learn has no price: it would only move the border for the others.
      for expert in 0..<experts where learning[expert] {
        let share = Double(counted[expert]) / Double(tokens.count * prototype.rule.topK)
        load[expert] = Self.memory * load[expert] + (1 - Self.memory) * share
        let excess = Float(load[expert] / max(physicalTargets[expert], 1e-6) - 1)
        beyond[expert] = min(excess - min(max(excess, -slack), slack), 2)
        multipliers[expert] += multiplierRate * beyond[expert]
      }
    }
  }

  /// The selection bias [E] that gives every logical expert its target with the original's rows.
  /// The prototype router's own goes with a token-dependent part, which has a mean. (On a
  /// DeepSeek-V3, three seeds, +0.0073 nats instead of +0.0098.)
  private func startingBias() -> [Float] {
    var bias = prototype.selectionBias
    if prototype.tokenBias != nil {
      let copies = prototype.physicalOfLogical
      bias = SelectionBiasSolver(
        rule: prototype.rule, selectable: copies.map { !$0.isEmpty }, threads: options.threads
      ).solve(
        scores: prototype.rule.scores(set.logits, threads: options.threads),
        targets: copies.map { $0.reduce(0) { $0 + physicalTargets[$1] } }, from: bias)
    }
    return prototype.physicalToLogical.map { bias[$0] }
  }

  /// The selection bias [E] that gives every expert its target, shifted to minimum 0.
  private func solveBias(_ gate: Gate) -> [Float] {
    var router = set.router
    router.gate = gate.rows
    router.logitBias = gate.bias?.values
    let scores = prototype.rule.scores(
      router.logits(set.inputs, threads: options.threads), threads: options.threads)
    let all = [Bool](repeating: true, count: prototype.experts)
    let bias = SelectionBiasSolver(
      rule: prototype.rule, selectable: all, threads: options.threads
    ).solve(
      scores: scores, targets: physicalTargets,
      from: prototype.physicalToLogical.map { prototype.selectionBias[$0] })
    let lowest = bias.min() ?? 0
    return bias.map { $0 - lowest }
  }

  /// The gradients [E,H] and [1,E] over a minibatch, and its hard load.
  private func gradient(
    _ gate: Gate, _ tokens: [Int], _ setting: SoftRouting.Setting
  ) -> (rows: Matrix, bias: Matrix, load: [Int]) {
    let experts = prototype.experts
    let topK = prototype.rule.topK
    let blocks = mapBlocks(
      count: tokens.count, blockSize: Self.block,
      threads: gate.rows.values.count < Self.smallGate ? 1 : options.threads
    ) { _, rows in
      let inputs = set.inputs.gathering(rows: Array(tokens[rows]))
      let logits = gate.logits(inputs)
      var routing = SoftRouting(setting)
      var workspace = setting.selection.makeWorkspace()
      var load = [Int](repeating: 0, count: experts)
      var gradient: [Float] = []
      gradient.reserveCapacity(logits.values.count)
      for (row, token) in tokens[rows].enumerated() {
        let entries = token * topK..<(token + 1) * topK
        routing.descend(
          logits: logits.values.span.extracting(row * experts..<(row + 1) * experts),
          wanted: .init(places: wanted.experts[entries], values: wanted.weights[entries]),
          cells: .init(places: cells.experts[entries], values: cells.weights[entries]),
          workspace: &workspace, load: &load, gradient: &gradient)
      }
      let logitGradient = Matrix(rows: rows.count, columns: experts, values: gradient)
      return (load, logitGradient, LinearAlgebra.multiply(logitGradient.transposed(), inputs))
    }
    var load = [Int](repeating: 0, count: experts)
    var gradient = Matrix(rows: experts, columns: set.inputs.columns)
    var biasGradient = Matrix(rows: 1, columns: experts)
    for (counted, logits, rows) in blocks {
      for expert in load.indices { load[expert] += counted[expert] }
      gradient.add(rows)
      if gate.bias != nil {
        for row in 0..<logits.rows {
          for expert in 0..<experts { biasGradient[0, expert] += logits[row, expert] }
        }
      }
    }
    return (gradient, biasGradient, load)
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
