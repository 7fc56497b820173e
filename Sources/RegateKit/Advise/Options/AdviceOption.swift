// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import ModelFitting
import Runtimes
import Traffic

/// Something that can be done for even ranks of an expert-parallel group: a row of the advice. A
/// new one is one more type.
protocol AdviceOption: Sendable {
  /// Stable name, for programs.
  var name: String { get }
  /// What the model is then, in words.
  var title: String { get }
  /// What to do for it, in words that follow "On 8 ranks, ".
  var deed: String { get }
  /// The routers that have to be fitted; nil where the model computes what it did.
  var candidate: FitCandidate? { get }

  /// The expert, by the number that the routers give it, in each place [P] of one layer.
  func places(_ traffic: LayerTraffic, groups: Int) throws(RegateError) -> [Int]

  /// Bytes that change on the disk. `made` is what came of the pass.
  func bytesToWrite(_ made: AdviceOutcome, of model: Model) throws(RegateError) -> Int

  /// What the files must be loaded by, as `check` knows it.
  func runtimes(of model: Model) -> [Runtime]

  /// What makes it, in the words of the library; nil where nothing is to be done.
  func command(_ commands: AdviceCommands) -> String?
}

/// What a pass over the layers found for one option.
struct AdviceOutcome {
  /// The expert in each place [layers][P].
  let places: [[Int]]
  /// Assignments per expert [layers][E] that the places were planned for.
  let planned: [[Int]]
  /// nil where nothing was fitted.
  let fit: ModelFit?
}

extension AdviceOption {
  var candidate: FitCandidate? { nil }
}

extension Check {
  /// The runtimes that were seen to load all of it.
  var loading: [Runtime] {
    outcomes.filter { $0.loads == true && $0.verdict != .leavesOut }.map(\.runtime)
  }
}
