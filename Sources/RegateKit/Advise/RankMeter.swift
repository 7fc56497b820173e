// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import ExpertMaps
import Measures
import ModelFitting
import Traffic

/// Measures one option on one number of ranks, layer after layer.
struct RankMeter {
  let option: any AdviceOption
  let ranks: Int
  private let sizes: [Int]
  private let roofline: Roofline
  private var places: [[Int]] = []
  private var planned: [[Int]] = []
  private var imbalances: [Double?] = []
  /// [sizes][layers]
  private var batches: [[RankBatches]]
  /// [sizes]
  private var seconds: [Double]
  private var expertBytes = 0

  init(_ option: any AdviceOption, ranks: Int, sizes: [Int], roofline: Roofline) {
    self.option = option
    self.ranks = ranks
    self.sizes = sizes
    self.roofline = roofline
    batches = [[RankBatches]](repeating: [], count: sizes.count)
    seconds = [Double](repeating: 0, count: sizes.count)
  }

  /// Adds a layer, whose tokens go where the option's router sends them.
  mutating func add(
    _ layer: MoELayer, _ traffic: LayerTraffic, groups: Int
  ) throws(RegateError) {
    let places = try option.places(traffic, groups: groups)
    self.places.append(places)
    planned.append(traffic.planned)
    imbalances.append(
      ExpertReplication.imbalance(plan: places, load: traffic.judged, gpus: ranks))
    let bytes = layer.experts.reduce(0) { $0 + $1.slice(expert: 0).bytes.count }
    expertBytes += (places.count + ranks - 1) / ranks * bytes
    guard let served = traffic.served else { return }
    let experts = traffic.planned.count
    let layout = RankLayout(places: places, experts: experts, ranks: ranks)
    let expert = Roofline.Expert(
      elements: 3 * layer.hiddenSize * layer.expertWidth, bytes: bytes)
    for (place, size) in sizes.enumerated() {
      let shares = served.shares(batch: size, experts: experts, on: layout)
      guard let found = RankBatches(tokens: size, shares) else { continue }
      batches[place].append(found)
      seconds[place] +=
        shares.reduce(0) { $0 + roofline.seconds($1, expert: expert) } / Double(shares.count)
    }
  }

  /// What was found in all; `fit` is that of the option.
  func row(
    _ fit: ModelFit?, of model: Model, _ commands: AdviceCommands
  ) throws(RegateError) -> Advice.Row {
    let outcome = AdviceOutcome(places: places, planned: planned, fit: fit)
    let isLossless = option.candidate == nil
    let measured = sizes.indices.filter { batches[$0].count == places.count }
    return Advice.Row(
      ranks: ranks, option: option.name, title: option.title, deed: option.deed,
      isLossless: isLossless,
      imbalance: LayerStatistics(imbalances, largestIsWorst: true).mean,
      batches: measured.compactMap { RankBatches(meanOf: batches[$0]) },
      seconds: measured.map { seconds[$0] },
      lossIncrease: isLossless ? 0 : fit?.overall?.likelihood?.increase,
      outputError: isLossless ? 0 : fit?.overall?.outputError,
      bytesToWrite: try option.bytesToWrite(outcome, of: model), expertBytes: expertBytes,
      runtimes: option.runtimes(of: model).filter {
        $0.spreads((places.first ?? []).count, over: ranks)
      },
      command: option.command(commands))
  }
}
