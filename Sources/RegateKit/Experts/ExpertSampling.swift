// SPDX-License-Identifier: Apache-2.0
//
// What the experts put out on a sample of the calibration tokens, for the choice of a clone plan:
// for each token its chosen experts and the runners-up that a balanced router may come to choose.

import ByteStorage
import Fitting
import Routing
import Tensors

enum ExpertSampling {
  /// The sketched outputs of a layer's experts on tokens spread evenly over `inputs` [T,H].
  static func sketch(
    inputs: Matrix, original: FamilyRouter, pass: ExpertPass
  ) throws(RegateError) -> OutputSketch {
    let places = evenSample(of: inputs.rows, limit: OutputSketch.sampleTokens)
    let sample = inputs.gathering(rows: places)
    var builder = OutputSketch.Builder(
      tokens: places, experts: original.experts, hiddenSize: inputs.columns)
    try pass.run(
      inputs: sample, tokensOfExpert: candidates(of: sample, original: original, pass.threads)
    ) { expert, sampled, outputs in
      builder.add(expert: expert, sampled: sampled, outputs: outputs)
    }
    return builder.finish()
  }

  /// The tokens that may come to each expert: those that have it among their best.
  private static func candidates(
    of inputs: Matrix, original: FamilyRouter, _ threads: Int
  ) -> [[Int]] {
    let logits = original.logits(inputs, threads: threads)
    let chosen = original.route(logits: logits, threads: threads)
    var scores = original.rule.scores(logits, threads: threads)
    if let bias = original.selectionBias { scores.add(toEachRow: bias) }
    let count = OutputSketch.candidates(experts: original.experts, topK: chosen.topK)
    var tokens = [[Int]](repeating: [], count: original.experts)
    for token in 0..<inputs.rows {
      let row = scores.row(token)
      let first = row.startIndex
      let best = row.indices.sorted { (-row[$0], $0) < (-row[$1], $1) }.prefix(count)
      // A node-limited choice need not be among the best of all.
      let own = chosen.experts[token * chosen.topK..<(token + 1) * chosen.topK].map { Int($0) }
      for expert in Set(best.map { $0 - first }).union(own) { tokens[expert].append(token) }
    }
    return tokens
  }
}
