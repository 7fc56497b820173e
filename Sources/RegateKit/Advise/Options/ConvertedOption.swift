// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Forms
import ModelFitting
import Runtimes
import Traffic

/// New routers, and clones of busy experts in the places of hardly used ones.
struct ConvertedOption: AdviceOption {
  /// What is made even.
  enum Aim: Sendable, Hashable {
    case ranks(Int)
    case experts
  }

  let aim: Aim
  let form: RouterForm

  private var subject: String {
    switch aim {
    case .ranks: "ranks"
    case .experts: "experts"
    }
  }

  var name: String { "\(subject)_\(form.rawValue)" }
  var title: String { "even \(subject), \(form.rawValue)" }
  var deed: String { "even out the \(subject) with routers of the form \(form.rawValue)" }

  var candidate: FitCandidate? {
    let budget: Budget =
      switch aim {
      case .ranks(let count): .evenRanks([count], slack: Budget.standardSlack)
      case .experts: .strength(1)
      }
    return FitCandidate(budget: budget, form: form, forms: [form])
  }

  func places(_ traffic: LayerTraffic, groups: Int) -> [Int] { Array(traffic.planned.indices) }

  func bytesToWrite(_ made: AdviceOutcome, of model: Model) throws(RegateError) -> Int {
    try (made.fit?.patches(of: model, form: form, keepsBiasType: false) ?? []).reduce(0) {
      $0 + $1.changedBytes(in: model.checkpoint.container)
    }
  }

  func runtimes(of model: Model) -> [Runtime] { check(model).loading }

  func check(_ model: Model) -> Check {
    Check(CheckSubject(planned: model, form: form, keepsBiasType: false))
  }

  func command(_ commands: AdviceCommands) -> String? {
    switch aim {
    case .ranks(let count): commands.convert(form, ranks: count)
    case .experts: commands.convert(form, ranks: nil)
    }
  }
}
