// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Measures

/// Traffic that was read once: the tokens or captures of all sets, and which of them a fit sees.
///
/// The split into fitted and held-out tokens is made here and nowhere else: what is called held out
/// was seen by no plan, router or gate.
package struct TrafficSample: Sendable {
  /// One set by its rows of all tokens.
  package struct Part: Sendable {
    package let name: String
    package let role: SetRole
    /// Its share among the calibration sets; nil for others.
    package let share: Double?
    /// Rows that are fitted.
    package let fitted: [Int]
    /// Rows that the fit does not see; empty where there are too few to hold any out.
    package let heldOut: [Int]
    /// The sequences that the held-out rows are, by number; empty for captures.
    package let heldOutSequences: [Int]
  }

  /// The tokens or captures of all sets, one after the other.
  package let calibration: Calibration
  package let parts: [Part]
  /// Names of what was given to fit to, and to protect, in the order in which it is read.
  package let names: (calibration: [String], protected: [String])

  /// T, over all sets.
  package var tokens: Int { calibration.tokens }

  /// How many rows some part has.
  package var rows: Int { parts.reduce(0) { $0 + $1.fitted.count + $1.heldOut.count } }

  /// Rows that are fitted.
  package var fittedRows: [Int] { parts.flatMap(\.fitted) }

  /// Whether some calibration tokens judge what is fitted to the others.
  package var holdsOut: Bool {
    parts.contains { $0.role != .protected && !$0.heldOut.isEmpty }
  }

  /// The parts that are fitted to.
  package var calibrationParts: [Part] { parts.filter { $0.role == .calibration } }

  /// The held-out rows of all calibration sets, then of each set, protected ones included; empty
  /// where nothing is held out.
  package var heldOutGroups: [[Int]] {
    holdsOut ? [calibrationParts.flatMap(\.heldOut)] + parts.map(\.heldOut) : []
  }

  /// Opens the sets of `asked`. With `judged`, something must be held out: too few tokens are an
  /// error then.
  package init(
    _ asked: CalibrationSets, for model: Model, judged: Bool, progress: any ProgressSink
  ) throws(RegateError) {
    try self.init(
      try TrafficSource.all(asked), for: model, options: asked.tokens,
      splitter: TrafficSplit(mustHoldOut: judged || asked.isDivided), progress: progress)
  }

  /// Opens `paths` to judge a finished model on: each is a set of its own, measured whole.
  package init(
    judging paths: [String], for model: Model, options: TokenOptions, progress: any ProgressSink
  ) throws(RegateError) {
    try self.init(
      TrafficSource.judging(paths), for: model, options: options,
      splitter: TrafficSplit(mustHoldOut: false), progress: progress)
  }

  private init(
    _ given: [TrafficSource], for model: Model, options: TokenOptions, splitter: TrafficSplit,
    progress: any ProgressSink
  ) throws(RegateError) {
    var sources = given
    var opened: [Calibration] = []
    for (place, source) in given.enumerated() {
      var own = options
      own.maxTokens = source.tokens(of: options.maxTokens)
      // The gates are read once for all sets.
      opened.append(
        try Calibration(
          source.paths, for: model, options: own, checkingGates: false, progress: progress))
      if case .captures(let lot) = opened[place] { sources[place].names = lot.names }
    }
    func names(_ role: SetRole) -> [String] {
      sources.filter { $0.role == role }.flatMap(\.names)
    }
    self.names = (names(.calibration), names(.protected))
    let sets = opened.compactMap { if case .tokens(let set) = $0 { set } else { nil } }
    if sets.count == sources.count {
      try TrafficSource.requireDistinct(given)
      (calibration, parts) = try splitter.tokens(sets, sources, options)
    } else if sets.isEmpty {
      let lots = opened.compactMap { if case .captures(let lot) = $0 { lot } else { nil } }
      // Traffic may be protected beside being fitted to.
      for role in SetRole.allCases {
        try Captures.requireDistinct(zip(sources, lots).filter { $0.0.role == role }.map(\.1))
      }
      let captures = Captures(joining: lots)
      try captures.requireOrigin(in: model, progress: progress)
      calibration = .captures(captures)
      parts = try splitter.captures(captures, sources)
    } else {
      throw RegateError(
        .refused, subject: "`calibration`", "captured activations and tokens cannot be mixed",
        advice: "give all calibration and protected sets in one form")
    }
    nameRepeats(progress)
  }

  private init(_ calibration: Calibration, _ parts: [Part], _ names: ([String], [String])) {
    self.calibration = calibration
    self.parts = parts
    self.names = names
  }

  /// About so many tokens of it, evenly spread, to try out what all cost: whole sequences, as one
  /// set; of captures rows of each.
  package func thinned(to tokens: Int) throws(RegateError) -> TrafficSample {
    func thinned<Element>(_ all: [Element]) -> [Element] {
      let count = min(all.count, max(2, all.count * tokens / max(1, self.tokens)))
      return (0..<count).map { all[$0 * all.count / count] }
    }
    guard case .tokens(let set) = calibration else {
      let parts = parts.map { part in
        Part(
          name: part.name, role: part.role, share: part.share, fitted: thinned(part.fitted),
          heldOut: thinned(part.heldOut), heldOutSequences: [])
      }
      return TrafficSample(calibration, parts, names)
    }
    let source = TrafficSource(
      paths: names.calibration, role: .calibration, share: 1, budget: 1)
    let (calibration, parts) = try TrafficSplit(mustHoldOut: false).tokens(
      [TokenSet(sequences: thinned(set.sequences), runnable: set.runnable)], [source],
      TokenOptions(maxTokens: .max))
    return TrafficSample(calibration, parts, names)
  }

  /// The same, fitted to that many of its fitted rows; where there are fewer, to some more than
  /// once.
  package func fitting(rows: Int) -> TrafficSample {
    let all = fittedRows
    guard var first = calibrationParts.first, !all.isEmpty else { return self }
    first = Part(
      name: first.name, role: first.role, share: 1, fitted: (0..<rows).map { all[$0 % all.count] },
      heldOut: first.heldOut, heldOutSequences: first.heldOutSequences)
    return TrafficSample(
      calibration, [first] + parts.filter { $0.role == .protected }, names)
  }

  /// Says how many held-out sequences are word for word among the fitted ones: figures on them are
  /// better than on new traffic.
  private func nameRepeats(_ progress: any ProgressSink) {
    guard holdsOut, case .tokens(let set) = calibration else { return }
    let heldOut = Set(parts.flatMap(\.heldOutSequences))
    let fitted = Set(
      set.sequences.indices.filter { !heldOut.contains($0) }.map { set.sequences[$0] })
    let repeated = heldOut.count { fitted.contains(set.sequences[$0]) }
    guard repeated > 0 else { return }
    progress.warn(
      "\(repeated) of \(heldOut.count) held-out sequences are the same as fitted ones: held-out "
        + "figures are better than on new traffic")
  }

  /// What a resumed run must find again: the tokens and what each set is for.
  package func digest() throws(RegateError) -> String {
    let sets = parts.map { "\($0.name) \($0.role.rawValue) \($0.share ?? 0)" }
    return try calibration.digest() + " " + sets.joined(separator: ", ")
  }
}

extension CalibrationSets {
  /// Whether sets are told apart, so that each is to be judged.
  fileprivate var isDivided: Bool { !weights.isEmpty || !protected.isEmpty }
}
