// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import ExpertMaps
import Runtimes
import Traffic

/// The same model in a runtime that holds busy experts more than once, by the plan of DeepSeek's
/// load balancer: more memory, and no byte of the checkpoint changes.
struct RedundantOption: AdviceOption {
  let ranks: Int
  /// Places beyond the experts, those of all ranks together.
  let redundant: Int
  /// SGLang's class of the family takes the map; where it does not, nothing is written, and vLLM's
  /// balancer plans as it runs.
  let takesMap: Bool

  init(ranks: Int, redundant: Int, of family: Family) {
    self.ranks = ranks
    self.redundant = redundant
    takesMap = family.takesSGLangMaps
  }

  /// Whether a runtime that is known can hold experts of the family more than once.
  static func isPossible(_ family: Family) -> Bool {
    family.takesSGLangMaps || family.runtimes.vllm.hasEPLB == true
  }

  let name = "redundant"
  var title: String { "\(redundant) redundant experts" }
  var deed: String { "let the runtime hold \(redundant) redundant experts" }

  static let format = ExpertMapFormat.sglang

  func places(_ traffic: LayerTraffic, groups: Int) throws(RegateError) -> [Int] {
    try map([traffic.planned], groups: groups).layers[0]
  }

  private func map(_ planned: [[Int]], groups: Int) throws(RegateError) -> ExpertMap {
    try ExpertMap.replicating(
      .init(planned: planned), groups: groups, ranks: ranks, machines: 1, redundant: redundant)
  }

  func bytesToWrite(_ made: AdviceOutcome, of model: Model) throws(RegateError) -> Int {
    guard takesMap else { return 0 }
    let layout = model.layout
    return Self.format.file.bytes(
      try map(made.planned, groups: layout.layers.first?.rule.groups?.count ?? 1), ranks: ranks,
      layerCount: layout.layerCount, indices: layout.layers.map(\.index)
    ).count
  }

  /// Of those that load the checkpoint: SGLang takes the map; vLLM's EPLB makes such a plan itself.
  func runtimes(of model: Model) -> [Runtime] {
    Check(CheckSubject(model)).loading.filter {
      switch $0 {
      case .sglang: takesMap
      case .vllm: model.layout.family.runtimes.vllm.hasEPLB == true
      default: false
      }
    }
  }

  func command(_ commands: AdviceCommands) -> String? {
    takesMap ? commands.map(Self.format, ranks: ranks, redundant: redundant) : nil
  }
}
