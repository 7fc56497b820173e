// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Forms
import ModelFitting
import Runtimes
import Traffic

/// The experts that matter least left out, and redundant ones in a runtime in as many places: the
/// memory of now. The router of the others stays as it is.
struct PrunedOption: AdviceOption {
  /// What the runtime does with the smaller model.
  let replicas: RedundantOption

  private var count: Int { replicas.redundant }

  let name = "pruned"
  var title: String { "\(count) pruned, \(count) redundant" }
  var deed: String {
    "leave \(count) experts of each layer out and let the runtime hold as many redundant ones"
  }

  var candidate: FitCandidate? {
    FitCandidate(budget: .pruned(count), form: .stock, forms: [.stock])
  }

  func places(_ traffic: LayerTraffic, groups: Int) throws(RegateError) -> [Int] {
    try replicas.places(traffic, groups: groups)
  }

  func bytesToWrite(_ made: AdviceOutcome, of model: Model) throws(RegateError) -> Int {
    let patches = try made.fit?.patches(of: model, form: .stock, keepsBiasType: false) ?? []
    let map = try replicas.bytesToWrite(made, of: model)
    return patches.reduce(map) { $0 + $1.changedBytes(in: model.checkpoint.container) }
  }

  func runtimes(of model: Model) -> [Runtime] { replicas.runtimes(of: model) }

  func command(_ commands: AdviceCommands) -> String? {
    commands.replace(
      count, by: replicas.takesMap ? RedundantOption.format : nil, ranks: replicas.ranks)
  }
}
