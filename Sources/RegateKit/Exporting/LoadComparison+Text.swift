// SPDX-License-Identifier: Apache-2.0

import Measures
import Reports

extension LoadComparison {
  /// The experts that tell the two loads apart, in one sentence; nil where none does.
  var specialistText: String? {
    guard !specialists.isEmpty else { return nil }
    let experts = specialists.map { expert in
      let shares = expert.shares.map { Format.number(100 * $0, decimals: 1) + " %" }
      return "layer \(expert.layer) expert \(expert.expert) (\(shares.joined(separator: ", ")))"
    }
    return "Most different in \(names.joined(separator: ", ")): " + experts.joined(separator: "; ")
  }
}
