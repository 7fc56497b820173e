// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import ExpertMaps
import Forms
import Runtimes
import Traffic

/// Experts renumbered so that contiguous ranks are even, which loses nothing.
struct RenumberedOption: AdviceOption {
  let ranks: Int

  let name = "renumbered"
  let title = "renumbered"
  let deed = "renumber the experts"

  func places(_ traffic: LayerTraffic, groups: Int) throws(RegateError) -> [Int] {
    try ExpertMap.renumbering(
      .init(planned: [traffic.planned], runs: traffic.runs.map { [$0] }), groups: [groups],
      ranks: [ranks]
    ).layers[0]
  }

  func bytesToWrite(_ made: AdviceOutcome, of model: Model) throws(RegateError) -> Int {
    try model.patches(renumbering: made.places).reduce(0) {
      $0 + $1.changedBytes(in: model.checkpoint.container)
    }
  }

  func runtimes(of model: Model) -> [Runtime] {
    Check(CheckSubject(planned: model, form: model.form, keepsBiasType: true)).loading
  }

  func command(_ commands: AdviceCommands) -> String? { commands.renumber(ranks: ranks) }
}
