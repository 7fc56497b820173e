// SPDX-License-Identifier: Apache-2.0
//
// The gated delta rule (Yang et al. 2024, arXiv 2412.06464) for the value heads of one key head. A
// state S [key size, value size] of each head forgets, then learns what it tells wrongly:
//
//   S_t = exp(g_t) S_t-1 + k_t u_tᵀ,  u_t = b_t (v_t - exp(g_t) S_t-1ᵀ k_t),  o_t = S_tᵀ q_t
//
// Tokens go through it in chunks, by matrix products. With c_t the sum of g over a chunk up to t,
// D_ts = exp(c_t - c_s) for s <= t, and S the state before the chunk of n tokens:
//
//   (I + tril(b_t D_ts k_tᵀ k_s, -1)) U = b_t (v_t - exp(c_t) Sᵀ k_t)     solved for U
//   O = exp(c_t) Q S + (D ∘ Q Kᵀ) U
//   S <- exp(c_n) S + Kᵀ (exp(c_n - c_t) U)

import Foundation
package import Tensors

/// The states of the value heads that share a key head, over one sequence.
package struct DeltaRule {
  /// A value head's g and b for the tokens of a chunk.
  package struct Rates {
    var decay: [Float]
    var strength: [Float]

    package init(decay: [Float], strength: [Float]) {
      self.decay = decay
      self.strength = strength
    }
  }

  /// Tokens in a chunk at most: the solution of its equations grows with their square.
  package static let chunk = 64

  private let valueSize: Int
  /// The states of all heads, side by side.
  private let state: MatrixView
  /// Queries, then keys, times keys.
  private let products: MatrixView
  /// What queries, then keys, read from the states.
  private let read: MatrixView
  private let turnedKeys: MatrixView
  /// D of one head, and it times products.
  private let decays: MatrixView
  private let system: MatrixView

  package init(heads: Int, keySize: Int, valueSize: Int) {
    self.valueSize = valueSize
    state = MatrixView(rows: keySize, columns: heads * valueSize)
    state.fill(0)
    products = MatrixView(rows: 2 * Self.chunk, columns: Self.chunk)
    read = MatrixView(rows: 2 * Self.chunk, columns: heads * valueSize)
    turnedKeys = MatrixView(rows: keySize, columns: Self.chunk)
    decays = MatrixView(rows: Self.chunk, columns: Self.chunk)
    system = MatrixView(rows: Self.chunk, columns: Self.chunk)
  }

  /// Takes the next n tokens, a chunk at most: `pairs` [2n, key size] are their queries, then their
  /// keys; `values` [n, heads · value size], which become the outputs; `rates` are each head's.
  package func advance(_ pairs: MatrixView, values: MatrixView, rates: [Rates]) {
    let count = values.rows
    let keys = pairs[count..<2 * count]
    let products = products[0..<2 * count, 0..<count]
    let read = read[0..<2 * count]
    let turned = turnedKeys.columns(0..<count)
    products.multiply(pairs, transposed: keys)
    read.multiply(pairs, state)
    turned.copyTransposed(keys)
    for (head, rates) in rates.enumerated() {
      let columns = head * valueSize..<(head + 1) * valueSize
      advance(
        rates, values.columns(columns), read.columns(columns), products, state.columns(columns))
    }
    state.multiply(
      turned, transposed: PackedMatrix(transposing: values, uses: turned.rows), adding: true)
    values.copy(read[0..<count])
  }

  /// One head's: `values` become what its state, which decays, is to learn, and the query rows of
  /// `read` the outputs.
  private func advance(
    _ rates: Rates, _ values: MatrixView, _ read: MatrixView, _ products: MatrixView,
    _ state: MatrixView
  ) {
    let count = values.rows
    let sums = Self.sums(rates.decay)
    let outputs = read[0..<count]
    let decays = decays[0..<count, 0..<count]
    let system = system[0..<count, 0..<count]
    Self.fill(decays, sums)
    system.fill(0)
    system.add(products[count..<2 * count], times: decays)
    for row in 0..<count {
      let (kept, token) = (Float(exp(sums[row])), row..<row + 1)
      values.add(read, row: count + row, times: -kept, to: row)
      values[token].multiply(by: rates.strength[row])
      system[token].multiply(by: rates.strength[row])
      outputs[token].multiply(by: kept)
    }
    values.solve(unitLower: system)
    system.fill(0)
    system.add(products[0..<count], times: decays)
    outputs.multiply(
      system, transposed: PackedMatrix(transposing: values, uses: count), adding: true)
    let last = sums[count - 1]
    for row in 0..<count { values[row..<row + 1].multiply(by: Float(exp(last - sums[row]))) }
    state.multiply(by: Float(exp(last)))
  }

  /// c: in Double, so that differences are exact however fast the state decays.
  private static func sums(_ decay: [Float]) -> [Double] {
    var sum = 0.0
    return decay.map {
      sum += Double($0)
      return sum
    }
  }

  /// D, with zeros above its diagonal.
  private static func fill(_ decays: MatrixView, _ sums: [Double]) {
    decays.fill(0)
    for row in sums.indices {
      let seen = decays[row..<row + 1, 0..<row + 1]
      for column in 0...row { seen[0, column] = Float(sums[row] - sums[column]) }
      seen.exponentiate()
    }
  }
}
