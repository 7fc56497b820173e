// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Fitting
import Forms

extension Budget {
  /// What a layer's fit, of these forms and judged by one, is asked for; nil where experts are to
  /// be even.
  func rankBalance(_ forms: Set<RouterForm>, judgedBy form: RouterForm) -> RankBalance? {
    guard case .evenRanks(let counts, let slack) = self else { return nil }
    return RankBalance(
      counts: counts, slack: slack, keepsGroups: forms != [.lpr], followsStock: form != .lpr)
  }

  /// Refuses rank counts that a model with `experts` experts a layer cannot be divided into.
  package func requireRanks(dividing experts: Int) throws(RegateError) {
    guard case .evenRanks(let counts, let slack) = self else { return }
    guard !counts.isEmpty, counts.allSatisfy({ 1...experts ~= $0 }) else {
      throw RegateError(
        .refused, subject: "`ranks`",
        "are \(counts), expected numbers from 1 to \(experts), the experts")
    }
    guard slack >= 0, slack.isFinite else {
      throw RegateError(
        .refused, subject: "`budget`", "has a slack of \(slack), expected 0 or more")
    }
  }
}
