// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Inference

extension Validation.Request {
  /// Refuses what only a run of the model can give.
  func requireFitForCaptures() throws(RegateError) {
    func refuse(_ name: String, _ problem: String, _ advice: String) -> RegateError {
      RegateError(
        .refused, file: calibration.first, subject: name, problem, advice: advice)
    }
    if resume.resumes {
      throw refuse(
        "`resume`", "a validation on captures keeps no state", "leave `resume` out")
    }
    let text = "give text or token ids"
    if thresholds.maxPerplexityIncrease != nil {
      throw refuse(
        "`maxPerplexityIncrease`", "captures tell no perplexity: the model is not run", text)
    }
    if tokens.perplexity != .all {
      throw refuse("`perplexity`", "captures tell no perplexity: the model is not run", text)
    }
  }
}
