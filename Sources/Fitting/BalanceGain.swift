// SPDX-License-Identifier: Apache-2.0
//
// Whether a layer has balance to gain. Loads are counts, which chance alone makes uneven by the
// sampling floor g: a count of G is then an imbalance of about sqrt(G² - g²), and a fit, which
// takes chance for imbalance too, leaves about g of its own. It gains where G > g sqrt(2).

import Routing
import Tensors

/// What a fit can bring one layer and what it brought, on the tokens that it sees.
struct BalanceGain {
  private let set: CalibrationSet
  private let before: LoadMetrics
  private let threads: Int

  init(_ set: CalibrationSet, threads: Int) {
    self.set = set
    self.threads = threads
    before = LoadMetrics(load: set.load)
  }

  /// Whether the load is less even than chance explains.
  var isPossible: Bool {
    (before.gini ?? 0) > (before.samplingFloor ?? 0) * 2.0.squareRoot()
  }

  /// Whether a router's load is more even, and its least used expert not used less.
  func isReached(by router: some Router) -> Bool {
    let load = router.route(set.inputs, threads: threads).load(experts: router.experts)
    return (LoadMetrics(load: load).gini ?? 1) < before.gini ?? 0
      && load.min() ?? 0 >= set.load.min() ?? 0
  }
}
