// SPDX-License-Identifier: Apache-2.0
//
// What the experts put out on samples of the calibration tokens, for the choice of a clone plan:
// for each token its chosen experts and the runners-up that a balanced router may come to choose.
// All samples of a layer (of several streams, of protected sets) go through each expert while it is
// decoded.

import ByteStorage
import Fitting
import Inference
import Routing
import Tensors

enum ExpertSampling {
  /// Tokens of which a sample is taken, evenly spread.
  struct Tokens {
    /// Rows of the stream's inputs, ascending.
    let rows: [Int]
    /// The sampled places among `rows`.
    let places: [Int]

    init(_ rows: [Int]) {
      self.rows = rows
      places = evenSample(of: rows.count, limit: OutputSketch.sampleTokens)
    }

    /// The sampled rows.
    var sampled: [Int] { places.map { rows[$0] } }
  }

  /// The sketched outputs of a layer's experts on each sample; `inputs` [S,H] are its sampled rows.
  static func sketches(
    _ samples: [(tokens: Tokens, inputs: Matrix)], original: FamilyRouter, threads: Int,
    pass: ExpertPass
  ) throws(RegateError) -> [OutputSketch] {
    var builders = samples.map {
      OutputSketch.Builder(
        tokens: $0.tokens.places, experts: original.experts, hiddenSize: $0.inputs.columns)
    }
    let batches = samples.map {
      ExpertPass.Batch(
        inputs: $0.inputs,
        tokensOfExpert: candidates(of: $0.inputs, original: original, threads))
    }
    try pass.run(batches) { sample, expert, sampled, outputs in
      builders[sample].add(expert: expert, sampled: sampled, outputs: outputs)
    }
    return builders.map { $0.finish() }
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
      // A group-limited choice need not be among the best of all.
      let own = chosen.experts[token * chosen.topK..<(token + 1) * chosen.topK].map { Int($0) }
      for expert in Set(best.map { $0 - first }).union(own) { tokens[expert].append(token) }
    }
    return tokens
  }
}
