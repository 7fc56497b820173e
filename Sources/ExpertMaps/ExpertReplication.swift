// SPDX-License-Identifier: Apache-2.0
//
// The plan that DeepSeek's expert-parallel load balancer makes of expert loads
// (https://github.com/deepseek-ai/EPLB, README). E experts in G groups of E/G, P >= E physical
// places, N GPUs on M machines.
//
// 1. Where M divides G: groups are packed onto machines by load, so that a token that is limited to
//    few groups stays on few machines. Otherwise all GPUs count as one machine and all experts as
//    one group.
// 2. On each machine experts are doubled until it has P/M: always the one whose replicas carry most
//    each.
// 3. A machine's replicas are packed onto its GPUs.
//
// Packing: heaviest first, each to the lightest pack that has room. Ties go to the lowest index.

import Routing

/// Which expert lies in each physical place, redundant ones included.
package enum ExpertReplication {
  /// What a plan is made for.
  package struct Cluster: Sendable, Hashable {
    package var physical: Int
    package var groups: Int
    package var machines: Int
    package var gpus: Int

    package init(physical: Int, groups: Int = 1, machines: Int = 1, gpus: Int) {
      self.physical = physical
      self.groups = groups
      self.machines = machines
      self.gpus = gpus
    }

    /// Why no plan can be made for `experts` experts; nil if one can.
    package func problem(experts: Int) -> String? {
      if physical < experts { return "\(experts) experts need as many places, not \(physical)" }
      if physical % gpus != 0 { return "\(physical) places do not divide among \(gpus) ranks" }
      if gpus % machines != 0 { return "\(gpus) ranks do not divide among \(machines) machines" }
      return nil
    }
  }

  /// The expert in each physical place [P]; places of one GPU follow each other.
  package static func plan(load: [Int], cluster: Cluster) -> [Int] {
    precondition(cluster.problem(experts: load.count) == nil)
    precondition(load.count % cluster.groups == 0)
    guard cluster.groups % cluster.machines == 0 else {
      return onMachine(
        Array(load.indices), load: load, physical: cluster.physical, gpus: cluster.gpus)
    }
    let size = load.count / cluster.groups
    let sums = (0..<cluster.groups).map { group in
      Double(load[group * size..<(group + 1) * size].reduce(0, +))
    }
    return packed(sums, packs: cluster.machines).flatMap { groups in
      onMachine(
        groups.flatMap { Array($0 * size..<($0 + 1) * size) }, load: load,
        physical: cluster.physical / cluster.machines, gpus: cluster.gpus / cluster.machines)
    }
  }

  /// Steps 2 and 3 for the `experts` of one machine.
  private static func onMachine(
    _ experts: [Int], load: [Int], physical: Int, gpus: Int
  ) -> [Int] {
    var places = Array(experts.indices)
    var replicas = [Int](repeating: 1, count: experts.count)
    func share(_ place: Int) -> Double {
      Double(load[experts[place]]) / Double(replicas[place])
    }
    while places.count < physical {
      let next = experts.indices.max { a, b in
        let (x, y) = (share(a), share(b))
        return x == y ? a > b : x < y
      }
      guard let next else { break }
      places.append(next)
      replicas[next] += 1
    }
    return packed(places.map(share), packs: gpus).flatMap { $0.map { experts[places[$0]] } }
  }

  /// Items in packs of equal number and about equal weight, in the order in which they are put
  /// there.
  private static func packed(_ weights: [Double], packs: Int) -> [[Int]] {
    let room = weights.count / packs
    guard room > 1 else { return weights.indices.map { [$0] } }
    var result = [[Int]](repeating: [], count: packs)
    var sums = [Double](repeating: 0, count: packs)
    for item in weights.indices.sorted(by: { (-weights[$0], $0) < (-weights[$1], $1) }) {
      let open = result.indices.filter { result[$0].count < room }
      guard let pack = open.min(by: { (sums[$0], $0) < (sums[$1], $1) }) else { continue }
      result[pack].append(item)
      sums[pack] += weights[item]
    }
    return result
  }

  /// `plan` with replicas exchanged between the GPUs of a machine until none holds an expert twice:
  /// always the exchange that leaves the fuller of the two GPUs the least load. nil where there is
  /// none.
  package static func separated(_ plan: [Int], load: [Int], cluster: Cluster) -> [Int]? {
    var plan = plan
    let share = shares(plan, load)
    let room = plan.count / cluster.gpus
    let perMachine = cluster.gpus / cluster.machines
    func held(_ gpu: Int) -> ArraySlice<Int> { plan[gpu * room..<(gpu + 1) * room] }
    func sum(_ gpu: Int) -> Double { held(gpu).reduce(0) { $0 + share[$1] } }
    func repeated() -> Int? {
      plan.indices.first { plan[$0 / room * room..<$0].contains(plan[$0]) }
    }
    while let place = repeated() {
      let (expert, gpu) = (plan[place], place / room)
      let machine = gpu / perMachine
      var best: (place: Int, load: Double)?
      for other in machine * perMachine..<(machine + 1) * perMachine
      where other != gpu && !held(other).contains(expert) {
        for candidate in other * room..<(other + 1) * room
        where !held(gpu).contains(plan[candidate]) {
          let change = share[expert] - share[plan[candidate]]
          let fuller = max(sum(gpu) - change, sum(other) + change)
          if fuller < best?.load ?? .infinity { best = (candidate, fuller) }
        }
      }
      guard let best else { return nil }
      plan.swapAt(place, best.place)
    }
    return plan
  }

  /// The load of one replica of each expert [E], which share it evenly.
  private static func shares(_ plan: [Int], _ load: [Int]) -> [Double] {
    var replicas = [Int](repeating: 0, count: load.count)
    for expert in plan { replicas[expert] += 1 }
    return zip(load, replicas).map { Double($0) / Double(max($1, 1)) }
  }

  /// Max/mean load over GPUs under a plan, replicas of an expert sharing its load evenly; nil when
  /// no token was counted.
  package static func imbalance(plan: [Int], load: [Int], gpus: Int) -> Double? {
    let total = load.reduce(0, +)
    guard total > 0 else { return nil }
    let share = shares(plan, load)
    var sums = [Double](repeating: 0, count: gpus)
    for (expert, rank) in zip(plan, Placement.rankOfPlace(plan.count, ranks: gpus)) {
      sums[rank] += share[expert]
    }
    return (sums.max() ?? 0) * Double(gpus) / Double(total)
  }
}
