// SPDX-License-Identifier: Apache-2.0

import ExpertMaps
import Routing
import TestSupport
import Testing

struct ExpertReplicationTests {
  /// The example of the README of https://github.com/deepseek-ai/EPLB.
  @Test func `the published example gives the published plan`() {
    let loads = [
      [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
      [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ]
    let plans = [
      [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
      [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
    ]
    for (load, plan) in zip(loads, plans) {
      #expect(
        ExpertReplication.plan(
          load: load, cluster: .init(physical: 16, groups: 4, machines: 2, gpus: 8)) == plan)
    }
  }

  @Test func `every expert has a place and ranks are even`() {
    var random = SeededGenerator(seed: 5)
    for (experts, redundant, groups, machines, gpus) in [
      (32, 0, 1, 1, 8), (32, 8, 1, 1, 4), (256, 32, 8, 4, 32), (160, 8, 8, 3, 6),
    ] {
      let load = (0..<experts).map { _ in Int.random(in: 1...1000, using: &random) }
      let plan = ExpertReplication.plan(
        load: load,
        cluster: .init(
          physical: experts + redundant, groups: groups, machines: machines, gpus: gpus))
      #expect(plan.count == experts + redundant)
      #expect(Set(plan) == Set(0..<experts))
      let before = LoadMetrics.rankImbalance(load: load, ranks: gpus) ?? 0
      #expect((ExpertReplication.imbalance(plan: plan, load: load, gpus: gpus) ?? 9) <= before)
    }
  }

  @Test func `replicas are kept apart by exchanges on their machine`() throws {
    var random = SeededGenerator(seed: 3)
    var repeats = 0
    for machines in [1, 2, 1, 2, 1, 2] {
      let load = (0..<16).map { _ in 1 << Int.random(in: 0...9, using: &random) }
      let cluster = ExpertReplication.Cluster(
        physical: 24, groups: 2, machines: machines, gpus: 4)
      let plan = ExpertReplication.plan(load: load, cluster: cluster)
      guard
        let apart = ExpertReplication.separated(plan, load: load, cluster: cluster)
      else { continue }
      #expect(apart.sorted() == plan.sorted())
      for gpu in 0..<4 {
        let (before, after) = (plan[gpu * 6..<gpu * 6 + 6], apart[gpu * 6..<gpu * 6 + 6])
        #expect(Set(after).count == 6)
        if Set(before).count < 6 { repeats += 1 }
      }
      for half in 0..<machines where machines > 1 {
        let own = half * 12..<half * 12 + 12
        #expect(apart[own].sorted() == plan[own].sorted())
      }
    }
    #expect(repeats > 0, "no plan had anything to mend")
  }

  @Test func `what does not divide is named`() {
    #expect(ExpertReplication.Cluster(physical: 30, gpus: 4).problem(experts: 32) != nil)
    #expect(ExpertReplication.Cluster(physical: 33, gpus: 4).problem(experts: 32) != nil)
    #expect(
      ExpertReplication.Cluster(physical: 36, machines: 3, gpus: 4).problem(experts: 32) != nil)
    #expect(ExpertReplication.Cluster(physical: 36, gpus: 4).problem(experts: 32) == nil)
  }
}
