// SPDX-License-Identifier: Apache-2.0
//
// What the words after the options of a fit mean.

public import ArgumentParser
public import RegateKit

extension RouterForm: ExpressibleByArgument {}
extension EncoderKind: ExpressibleByArgument {}

/// How much balance: one of four.
struct BudgetArguments: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "0 changes nothing, 1 (default): uniform load; down to -1: fewer experts at a time.",
      valueName: "s"))
  var strength: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Least strength with this mean held-out Gini.", valueName: "g"))
  var targetGini: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Most balance for this rise of the held-out NLL.", valueName: "nats"))
  var maxLossIncrease: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The same by output error, on captures.", valueName: "x"))
  var maxOutputError: Double?

  func validate() throws {
    for (name, value, least) in [("--strength", strength, -1.0), ("--target-gini", targetGini, 0)] {
      if let value, !(least...1).contains(value) {
        throw ValidationError("\(name) must be between \(Int(least)) and 1, not \(value).")
      }
    }
    for (name, limit) in [
      ("--max-loss-increase", maxLossIncrease), ("--max-output-error", maxOutputError),
    ] {
      if let limit, !(limit >= 0 && limit.isFinite) {
        throw ValidationError("\(name) must be 0 or more, not \(limit).")
      }
    }
    if given.count > 1 {
      throw ValidationError(
        "Give one of --strength, --target-gini, --max-loss-increase and --max-output-error.")
    }
  }

  /// What was asked for, in every way that was given.
  private var given: [Budget] {
    [
      strength.map { .strength($0) }, targetGini.map { .targetGini($0) },
      maxLossIncrease.map { .maxLossIncrease($0) }, maxOutputError.map { .maxOutputError($0) },
    ].compactMap { $0 }
  }

  var isEmpty: Bool { given.isEmpty }

  var budget: Budget { given.first ?? .strength(1) }
}

/// Which balance: of experts, or of the ranks that hold them.
enum BalanceKind: String, ExpressibleByArgument, CaseIterable {
  case experts, ranks
}

/// The ranks that are to be even, instead of the experts.
struct RankArguments: ParsableArguments {
  @Option(
    name: .customLong("ep"),
    help: ArgumentHelp("Even out these expert-parallel ranks, not experts.", valueName: "n,..."))
  var counts: PositiveIntegers?
}

/// What goes with them.
struct RankTuning: ParsableArguments {
  @Option(help: ArgumentHelp("experts, or ranks (default with --ep).", valueName: "kind"))
  var balance: BalanceKind?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The busiest rank may carry 1 + x times the mean.", valueName: "x"))
  var rankSlack: Double?

  var isEmpty: Bool { balance == nil && rankSlack == nil }

  /// Even ranks are asked for alone, and in full.
  func validate(_ budget: BudgetArguments, _ ranks: RankArguments) throws {
    guard ranks.counts != nil else {
      guard balance != .ranks, rankSlack == nil else {
        throw ValidationError("--balance ranks and --rank-slack go with --ep.")
      }
      return
    }
    guard balance != .experts else {
      throw ValidationError("--ep asks for even ranks: leave it out for --balance experts.")
    }
    guard budget.isEmpty else {
      throw ValidationError(
        "--ep takes the place of --strength, --target-gini, --max-loss-increase and "
          + "--max-output-error: it asks for no more than even ranks.")
    }
    if let rankSlack, !(rankSlack >= 0 && rankSlack.isFinite) {
      throw ValidationError("--rank-slack must be 0 or more, not \(rankSlack).")
    }
  }

  /// What was asked for.
  func budget(_ budget: BudgetArguments, _ ranks: RankArguments) -> Budget {
    ranks.counts.map { .evenRanks($0.values, slack: rankSlack ?? Budget.standardSlack) }
      ?? budget.budget
  }
}

/// Experts that are left out, instead of any balance.
struct PruneArgument: ParsableArguments {
  @Option(
    name: .customLong("prune"), parsing: .unconditional,
    help: ArgumentHelp(
      "Leave this many experts out of each layer; the router stays.", valueName: "n"))
  var count: Int?

  func validate() throws {
    if let count, count < 1 { throw ValidationError("--prune must be 1 or more, not \(count).") }
  }

  /// What is pruned keeps its router: nothing of what makes another one goes with it.
  func validate(
    _ calibration: CalibrationArguments, isBalanced: Bool, _ router: RouterArgument,
    _ tuning: TuningArguments
  ) throws {
    guard count != nil else { return }
    guard !isBalanced, tuning.isStandardRouter, [nil, .stock].contains(router.router) else {
      throw ValidationError(
        "--prune leaves the router of the experts that stay as it is: not with --strength, "
          + "--target-gini, --max-loss-increase, --max-output-error, --ep, another --router than "
          + "stock, or with what makes one.")
    }
    guard calibration.protected.isEmpty else {
      throw ValidationError(
        "--prune weighs all traffic alike: give that of --protect as --calibration.")
    }
  }

  var budget: Budget? { count.map { .pruned($0) } }
}

/// The form of the router.
struct RouterArgument: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "lpr (prototype router; default for safetensors), stock or lpr-official.",
      valueName: "form"))
  var router: RouterForm?
}

/// How a fit is made.
struct TuningArguments: ParsableArguments {
  @Flag(
    inversion: .prefixedNo,
    help: "Copy hot experts over hardly used ones; without, only routers change.")
  var clones = true

  @Option(
    help: ArgumentHelp(
      "Encoder of the prototype router: linear, or lpr (LayerNorm, SiLU, linear, as in the paper).",
      valueName: "linear|lpr"))
  var encoder = EncoderKind.linear

  @Option(
    help: ArgumentHelp(
      "Similarity of the prototype router: \(SimilarityName.all).", valueName: "name"))
  var similarity = SimilarityName()

  @Option(
    help: ArgumentHelp(
      "Latent size of the prototypes; with --router lpr-official, of its router (auto: the number "
        + "of experts + 1; the paper has 16).", valueName: "auto|n"))
  var latent = AutomaticNumber()

  @Option(
    help: ArgumentHelp(
      "Gradient steps of the prototype router towards the original's routing; auto: 400 where "
        + "--latent is a number, none where its size is chosen to keep the routing. With --router "
        + "lpr-official, of its router (auto: 400).",
      valueName: "auto|n"))
  var refine = AutomaticNumber()

  @OptionGroup var mtp: MTPArguments

  func validate() throws {
    if latent.number == 0 { throw ValidationError("--latent must be auto, or 1 or more.") }
  }

  /// Whether all is as without options.
  var isEmpty: Bool { isStandardRouter && !mtp.includes }

  /// Whether nothing is said of how a router is made.
  var isStandardRouter: Bool {
    clones && encoder == .linear && similarity.kind == .dot && latent.number == nil
      && refine.number == nil
  }

  func settings(_ seed: SeedArgument) -> FitSettings {
    FitSettings(
      clones: clones, latentSize: latent.number,
      latentForm: .init(encoder: encoder, similarity: similarity.kind),
      refinementSteps: refine.number, seed: seed.seed, mtp: mtp.includes)
  }
}

/// A similarity by its name on the command line, which has hyphens.
struct SimilarityName: ExpressibleByArgument {
  let kind: SimilarityKind

  static var all: String {
    SimilarityKind.allCases.map(name).joined(separator: ", ")
  }

  init() { kind = .dot }

  init?(argument: String) {
    let found = SimilarityKind.allCases.first { Self.name($0) == argument }
    guard let found else { return nil }
    kind = found
  }

  private static func name(_ kind: SimilarityKind) -> String {
    String(kind.rawValue.map { $0 == "_" ? "-" : $0 })
  }

  var defaultValueDescription: String { Self.name(kind) }
}

/// `auto` or a whole number.
struct AutomaticNumber: ExpressibleByArgument {
  let number: Int?

  init() { number = nil }

  init?(argument: String) {
    guard argument != "auto" else {
      number = nil
      return
    }
    guard let number = Int(argument), number >= 0 else { return nil }
    self.number = number
  }

  var defaultValueDescription: String { "auto" }
}
