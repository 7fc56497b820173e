// SPDX-License-Identifier: Apache-2.0

package import Routing

/// What a layer's traffic says of where its experts should lie.
package struct LayerTraffic: Sendable {
  /// Assignments per expert [E] that a plan is made from.
  package let planned: [Int]
  /// The same of runs of consecutive tokens, [N][E]; nil where only totals are known.
  package let runs: [[Int]]?
  /// Those that it is judged by: of held-out tokens, or the same where there are none.
  package let judged: [Int]
  /// Where the judging tokens go, as a server would mix them; nil where only totals are known.
  package let served: Assignment?

  package init(planned: [Int], runs: [[Int]]?, judged: [Int], served: Assignment?) {
    self.planned = planned
    self.runs = runs
    self.judged = judged
    self.served = served
  }

  /// Of the tokens of `assignment`, `fitted` make a plan, and `served` judge it, in that order.
  package init(_ assignment: Assignment, experts: Int, fitted: [Int], served: [Int]) {
    let (planning, judging) = (
      assignment.gathering(tokens: fitted), assignment.gathering(tokens: served)
    )
    self.init(
      planned: planning.load(experts: experts), runs: planning.runLoads(experts: experts),
      judged: judging.load(experts: experts), served: judging)
  }
}
