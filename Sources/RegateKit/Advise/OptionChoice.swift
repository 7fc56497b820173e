// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Forms
import Measures
import Reports
import Runtimes
import Traffic

/// Which options there are for a checkpoint and its traffic.
struct OptionChoice {
  private let isMovable: Bool
  private let forms: [RouterForm]
  private let family: Family
  /// Redundant experts, for the rank counts on which there can be any.
  private let redundant: [Int: Int]
  /// The rank counts on which as many experts can be pruned as there are redundant ones.
  private let prunable: Set<Int>
  /// What there is not, and why.
  let leftOut: [String]

  init(_ request: Advice.Request, _ model: Model) {
    var forms: [RouterForm] = []
    var leftOut: [String] = []
    var isMovable = true
    do throws(RegateError) {
      try model.requireConvertible()
      try model.requireMovableExperts(advice: "let the runtime move them")
    } catch {
      isMovable = false
      leftOut.append("Renumbering is left out: \(error.reason).")
    }
    switch request.load {
    case .counts:
      leftOut.append("New routers are left out, and their loss: they are fitted to `calibration`.")
    case .traffic:
      for form in [RouterForm.lpr, .stock] {
        do throws(RegateError) {
          try Self.requirePossible(form, model)
          forms.append(form)
        } catch {
          leftOut.append("Routers of the form \(form.rawValue) are left out: \(error.reason).")
        }
      }
    }
    var redundant: [Int: Int] = [:]
    let family = model.layout.family
    if !RedundantOption.isPossible(family) {
      leftOut.append(
        "Redundant experts are left out: neither SGLang's class of \(family.title) takes a map of "
          + "experts, nor does vLLM's take part in its balancer (`Check` says more).")
    }
    for count in request.ranks where RedundantOption.isPossible(family) {
      let more = request.redundant ?? count
      let experts = Set(model.layout.layers.map(\.rule.experts))
      if experts.count == 1, experts.allSatisfy({ ($0 + more) % count == 0 }) {
        redundant[count] = more
      } else {
        leftOut.append(
          "Redundant experts are left out on \(Format.count(count, of: "rank")): the experts of each layer and \(more) more "
            + "must be as many in all layers, and divide among the ranks.")
      }
    }
    var prunable: Set<Int> = []
    for (ranks, count) in redundant.sorted(by: { $0.key < $1.key }) where forms.contains(.stock) {
      // Replicas take the places of the pruned: there are as many as there were experts.
      guard model.layout.layers.allSatisfy({ $0.rule.experts % ranks == 0 }) else {
        leftOut.append(
          "Pruned experts are left out on \(ranks) ranks: the places of all experts do not divide among"
            + " them.")
        continue
      }
      do throws(RegateError) {
        try model.requirePrunable(count)
        prunable.insert(ranks)
      } catch {
        leftOut.append("Pruned experts are left out on \(ranks) ranks: \(error.reason).")
      }
    }
    self.family = family
    self.prunable = prunable
    self.isMovable = isMovable
    self.forms = forms
    self.redundant = redundant
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

  /// The checkpoint as it is first.
  func options(ranks: Int) -> [any AdviceOption] {
    var options: [any AdviceOption] = [UnchangedOption()]
    if isMovable { options.append(RenumberedOption(ranks: ranks)) }
    if let more = redundant[ranks] {
      let replicas = RedundantOption(ranks: ranks, redundant: more, of: family)
      options.append(replicas)
      if prunable.contains(ranks) { options.append(PrunedOption(replicas: replicas)) }
    }
    options += forms.map { ConvertedOption(aim: .ranks(ranks), form: $0) }
    options += forms.map { ConvertedOption(aim: .experts, form: $0) }
    return options
  }
}

extension RegateError {
  /// What is the matter, without the file that an advice is about.
  fileprivate var reason: String { [subject, problem].compactMap(\.self).joined(separator: ": ") }
}

extension Advice.Request {
  /// Refuses numbers that no advice can be given for.
  func requirePossible(_ model: Model) throws(RegateError) {
    guard !ranks.isEmpty else {
      throw RegateError(
        .missing, subject: "`ranks`", "are not given", advice: "give the ranks that you serve on")
    }
    try model.requireRanks(ranks)
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
