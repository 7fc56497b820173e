// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Forms
import Measures
import Runtimes
import Traffic

/// Which options there are for a checkpoint and its traffic.
struct OptionChoice {
  private let request: Advice.Request
  private let experts: Int
  private let forms: [RouterForm]
  /// What there is not, and why.
  let leftOut: [String]

  init(_ request: Advice.Request, _ model: Model) {
    self.request = request
    experts = model.layout.layers.map(\.rule.experts).max() ?? 0
    var forms: [RouterForm] = []
    var leftOut: [String] = []
    switch request.load {
    case .counts:
      leftOut.append("New routers are left out, and their loss: they are fitted to `calibration`.")
    case .traffic:
      for form in [RouterForm.lpr, .stock] {
        do throws(RegateError) {
          try Self.requirePossible(form, model)
          forms.append(form)
        } catch {
          leftOut.append("Routers of the form \(form.rawValue) are left out: \(error.problem).")
        }
      }
    }
    for count in request.ranks where !Self.divides(count, experts, request.redundant) {
      leftOut.append(
        "Redundant experts are left out on \(count) ranks: \(experts) experts and "
          + "\(request.redundant ?? count) more do not divide among them.")
    }
    self.forms = forms
    self.leftOut = leftOut
  }

  /// What `convert` would refuse.
  private static func requirePossible(
    _ form: RouterForm, _ model: Model
  ) throws(RegateError) {
    try model.requireFittable(form)
    try model.requireMovableExperts(advice: "fit without `clones`")
    try PreparedConversion.requireNothingLost(
      ConvertedOption(aim: .experts, form: form).check(model), form, model)
  }

  private static func divides(_ ranks: Int, _ experts: Int, _ redundant: Int?) -> Bool {
    (experts + (redundant ?? ranks)) % ranks == 0
  }

  /// The checkpoint as it is first.
  func options(ranks: Int) -> [any AdviceOption] {
    var options: [any AdviceOption] = [UnchangedOption(), RenumberedOption(ranks: ranks)]
    if Self.divides(ranks, experts, request.redundant) {
      options.append(RedundantOption(ranks: ranks, redundant: request.redundant ?? ranks))
    }
    options += forms.map { ConvertedOption(aim: .ranks(ranks), form: $0) }
    options += forms.map { ConvertedOption(aim: .experts, form: $0) }
    return options
  }
}

extension Advice.Request {
  /// Refuses numbers that no advice can be given for.
  func requirePossible(_ model: Model) throws(RegateError) {
    guard !ranks.isEmpty else {
      throw RegateError(
        .missing, subject: "`ranks`", "are not given", advice: "give the ranks that you serve on")
    }
    try model.requireRanks(ranks)
    for experts in Set(model.layout.layers.map(\.rule.experts)).sorted() {
      guard let count = ranks.first(where: { experts % $0 != 0 }) else { continue }
      throw RegateError(
        .refused, subject: "`ranks`",
        "\(count) ranks cannot hold as many each of the \(experts) experts of "
          + model.checkpoint.path,
        advice: "give some of "
          + (1...experts).filter { experts % $0 == 0 }.map(String.init).joined(separator: ", "))
    }
    guard Set(ranks).count == ranks.count else {
      throw RegateError(
        .refused, subject: "`ranks`", "are \(ranks), expected different numbers")
    }
    try RankBatches.requireSizes(batches)
    guard (1...65_536).contains(redundant ?? 1) else {
      throw RegateError(
        .refused, subject: "`redundant`", "is \(redundant ?? 0), expected 1 to 65536")
    }
    for (name, value) in [("`flops`", roofline.flops), ("`bandwidth`", roofline.bandwidth)] {
      guard value > 0, value.isFinite else {
        throw RegateError(.refused, subject: name, "is \(value), expected a number above 0")
      }
    }
  }
}
