// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Measures

/// One set as it was asked for.
struct TrafficSource {
  let paths: [String]
  let role: SetRole
  /// nil but for calibration.
  let share: Double?
  /// Its part of the token budget.
  let budget: Double
  /// Names of what was given, in the order in which it is read.
  var names: [String]

  var name: String { names.joined(separator: ", ") }

  init(paths: [String], role: SetRole, share: Double?, budget: Double) {
    self.paths = paths
    self.role = role
    self.share = share
    self.budget = budget
    names = paths.map(\.lastPathComponent)
  }

  /// Its part of `maxTokens`; of all numbers above, a Double is not sure to tell one.
  func tokens(of maxTokens: Int) -> Int {
    guard budget < 1 else { return maxTokens }
    return max(2, Int((Double(min(maxTokens, 1 << 53)) * budget).rounded()))
  }

  /// Protected sets only need enough to show which experts they use.
  private static let protectedBudget = 0.25

  /// Without weights all files are one set.
  static func all(_ asked: CalibrationSets) throws(RegateError) -> [TrafficSource] {
    guard !asked.files.isEmpty else {
      throw RegateError(
        .missing, subject: "`calibration`", "nothing was given",
        advice: "give text, token ids, or a capture of `CaptureRun`")
    }
    var sources: [TrafficSource] = []
    if asked.weights.isEmpty {
      sources.append(
        TrafficSource(paths: asked.files, role: .calibration, share: 1, budget: 1))
    } else {
      let total = asked.weights.reduce(0, +)
      guard asked.weights.count == asked.files.count, total.isFinite,
        asked.weights.allSatisfy({ $0 > 0 })
      else {
        throw RegateError(
          .mismatch, subject: "`weights`",
          "gives \(asked.weights.count) weights for \(asked.files.count) calibration files",
          advice: "give one weight above 0 for each `calibration`, in their order")
      }
      for (path, weight) in zip(asked.files, asked.weights) {
        sources.append(
          TrafficSource(
            paths: [path], role: .calibration, share: weight / total, budget: weight / total))
      }
    }
    return sources
      + CaptureParts.grouped(asked.protected).map {
        TrafficSource(paths: $0, role: .protected, share: nil, budget: protectedBudget)
      }
  }

  /// Refuses a file of tokens that is given twice for one role: its tokens would count twice, and
  /// those that are held out of the one would be fitted with the other.
  static func requireDistinct(_ sources: [TrafficSource]) throws(RegateError) {
    for role in SetRole.allCases {
      var seen: Set<FileIdentity> = []
      for path in sources.filter({ $0.role == role }).flatMap(\.paths) {
        guard let identity = Volume.identity(of: path), !seen.insert(identity).inserted else {
          continue
        }
        throw RegateError(
          .refused, file: path, "is given twice",
          advice: "give each file once; `weights` say how much each counts")
      }
    }
  }

  /// Sets that judge a finished model, each by itself.
  static func judging(_ paths: [String]) -> [TrafficSource] {
    let sets = CaptureParts.grouped(paths)
    return sets.map {
      TrafficSource(paths: $0, role: .validation, share: nil, budget: 1 / Double(sets.count))
    }
  }
}
