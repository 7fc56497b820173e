// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Measures

/// One set as it was asked for.
struct TrafficSource {
  let name: String
  let paths: [String]
  let role: SetRole
  /// nil but for calibration.
  let share: Double?
  /// Its part of the token budget.
  let budget: Double

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
        TrafficSource(
          name: asked.files.map(\.lastPathComponent).joined(separator: ", "), paths: asked.files,
          role: .calibration, share: 1, budget: 1))
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
            name: path.lastPathComponent, paths: [path], role: .calibration,
            share: weight / total, budget: weight / total))
      }
    }
    return sources
      + asked.protected.map {
        TrafficSource(
          name: $0.lastPathComponent, paths: [$0], role: .protected, share: nil,
          budget: protectedBudget)
      }
  }
}
