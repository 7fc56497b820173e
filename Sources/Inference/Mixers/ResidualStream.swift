// SPDX-License-Identifier: Apache-2.0

package import Tensors

/// Hidden states [T,H] as a part of a layer sees them: it reads them normalised, and what it writes
/// is added to them. Where norms stand is decided here, not in the parts.
package struct ResidualStream: Sendable {
  let hidden: MatrixView
  let norm: HiddenNorm
  /// Of what is added; nil: it is added as it is.
  var outputNorm: HiddenNorm?
  /// Multiplies what is added.
  var factor: Float = 1

  /// The normalised states of `tokens` [n,H], and whether the states were finite.
  package func inputs(_ tokens: Range<Int>) -> (values: MatrixView, isFinite: Bool) {
    let values = MatrixView(rows: tokens.count, columns: hidden.columns)
    let isFinite = norm.apply(hidden[tokens], into: values)
    return (values, isFinite)
  }

  /// Adds `values` [n,C] times `weight` [H,C] transposed, and `bias` [H], to the states of
  /// `tokens`.
  func add(
    _ values: MatrixView, through weight: PackedMatrix, bias: [Float]?, to tokens: Range<Int>
  ) {
    let target = hidden[tokens]
    guard factor != 1 || outputNorm != nil else {
      target.multiply(values, transposed: weight, adding: true)
      if let bias { target.add(toEachRow: bias) }
      return
    }
    let output = MatrixView(rows: tokens.count, columns: hidden.columns)
    output.multiply(values, transposed: weight)
    if let bias { output.add(toEachRow: bias) }
    outputNorm?.apply(output, into: output)
    target.add(output, times: factor)
  }

  /// Adds `values` [n,H] to the states of `tokens`.
  package func add(_ values: MatrixView, to tokens: Range<Int>) {
    guard let outputNorm else { return hidden[tokens].add(values, times: factor) }
    let output = MatrixView(rows: tokens.count, columns: hidden.columns)
    outputNorm.apply(values, into: output)
    hidden[tokens].add(output, times: factor)
  }
}
