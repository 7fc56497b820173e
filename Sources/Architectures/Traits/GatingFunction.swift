// SPDX-License-Identifier: Apache-2.0

import Routing

/// GGUF `{arch}.expert_gating_func`.
enum GatingFunction: Int {
  case none = 0
  case softmax, sigmoid, softmaxOfSelected, sqrtSoftplus

  var scoring: RoutingRule.Scoring? {
    switch self {
    case .none: nil
    case .softmax: .softmax
    case .sigmoid: .sigmoid
    case .softmaxOfSelected: .softmaxOfSelected
    case .sqrtSoftplus: .sqrtSoftplus
    }
  }
}
