// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Runtimes
import Traffic

/// The checkpoint as it is, which all others are compared with.
struct UnchangedOption: AdviceOption {
  let name = "as_is"
  let title = "as it is"
  let deed = "leave it as it is"

  func places(_ traffic: LayerTraffic, groups: Int) -> [Int] { Array(traffic.planned.indices) }

  func bytesToWrite(_ made: AdviceOutcome, of model: Model) -> Int { 0 }

  func runtimes(of model: Model) -> [Runtime] { Check(CheckSubject(model)).loading }

  func command(_ commands: AdviceCommands) -> String? { nil }
}
