// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Checkpoints
import Traffic

extension LoadRequest {
  /// The load of `model`'s experts, with some tokens held out where that is asked.
  func load(
    of model: Model, ranks: [Int], holdingOut: Bool = false, threads: Int,
    progress: any ProgressSink
  ) throws(RegateError) -> ExpertLoad {
    let source = try source(
      for: model, holdingOut: holdingOut, threads: threads, progress: progress)
    if case .counts(let paths) = self { model.warnOfMovedExperts(counts: paths, progress) }
    return try source.load(ranks: ranks)
  }
}

extension Model {
  /// Counts do not say of which checkpoint they are: that is said once where experts of this one
  /// lie otherwise than in its original.
  func warnOfMovedExperts(counts paths: [String], _ progress: any ProgressSink) {
    guard let moved = Manifest.movedExperts(of: self) else { return }
    for path in paths {
      progress.warn(
        "\(checkpoint.path) has \(moved), and \(path) does not say whether it was counted on it or on "
          + "its original, whose counts are wrong here")
    }
  }
}
