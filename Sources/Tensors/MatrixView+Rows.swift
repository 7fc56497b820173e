// SPDX-License-Identifier: Apache-2.0
//
// Row by row operations on panels, by the kernels of CKernels/RowKernels.h.
//
// SAFETY: a view lies inside its storage, which it keeps, so that each row has `columns` values
// from `base + row * stride` on; shapes, and rows that are named, are compared before anything is
// read.

import CKernels

extension MatrixView {
  private func forEachRow(_ body: (UnsafeMutablePointer<Float>, Int) -> Void) {
    guard columns > 0 else { return }
    for row in 0..<rows { unsafe body(base + row * stride, row) }
  }

  /// Every value becomes `value`.
  package func fill(_ value: Float) {
    unsafe forEachRow { row, _ in unsafe row.update(repeating: value, count: columns) }
  }

  /// Copies `other`, which has the same shape.
  package func copy(_ other: MatrixView) {
    precondition(rows == other.rows && columns == other.columns)
    unsafe forEachRow { row, index in
      unsafe row.update(from: other.base + index * other.stride, count: columns)
    }
  }

  /// Copies `other`, which has the same shape and may be this panel, rounded to bfloat16.
  func round(_ other: MatrixView) {
    precondition(rows == other.rows && columns == other.columns)
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      unsafe rg_round_bfloats(path, other.base + index * other.stride, row, columns)
    }
  }

  /// Copies `other` with rows and columns exchanged.
  package func copyTransposed(_ other: MatrixView) {
    precondition(rows == other.columns && columns == other.rows)
    unsafe forEachRow { row, index in
      for column in 0..<columns {
        unsafe row[column] = unsafe other.base[column * other.stride + index]
      }
    }
  }

  /// Adds `factor` times `other`, which has the same shape.
  package func add(_ other: MatrixView, times factor: Float = 1) {
    precondition(rows == other.rows && columns == other.columns)
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      unsafe rg_add_scaled(path, row, other.base + index * other.stride, factor, columns)
    }
  }

  /// Adds `factor` times a row of `other` to a row of this panel.
  package func add(_ other: MatrixView, row source: Int, times factor: Float, to target: Int) {
    precondition(columns == other.columns && target >= 0 && target < rows)
    precondition(source >= 0 && source < other.rows)
    guard columns > 0 else { return }
    unsafe rg_add_scaled(
      rg_best_path(), base + target * stride, other.base + source * other.stride, factor, columns)
  }

  /// Adds the rows of `other`, which has the same shape, value by value times `factors` of the same
  /// shape, or times its one row.
  package func add(_ other: MatrixView, times factors: MatrixView) {
    precondition(rows == other.rows && columns == other.columns && columns == factors.columns)
    precondition(factors.rows == rows || factors.rows == 1)
    let step = factors.rows == 1 ? 0 : factors.stride
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      unsafe rg_add_products(
        path, row, other.base + index * other.stride, factors.base + index * step, columns)
    }
  }

  /// Every value becomes its exponential.
  package func exponentiate() {
    let path = rg_best_path()
    unsafe forEachRow { row, _ in unsafe rg_exp(path, row, columns) }
  }

  /// Multiplies by the sigmoid of `gate`, which has the same shape; by its own it is silu.
  package func multiply(bySigmoidOf gate: MatrixView) {
    precondition(rows == gate.rows && columns == gate.columns)
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      unsafe rg_sigmoid_product(path, row, gate.base + index * gate.stride, columns)
    }
  }

  /// Multiplies every value by `factor`.
  package func multiply(by factor: Float) {
    let path = rg_best_path()
    unsafe forEachRow { row, _ in unsafe rg_scale(path, row, factor, columns) }
  }

  /// Adds `bias` [columns] to every row.
  package func add(toEachRow bias: [Float]) {
    precondition(bias.count == columns)
    let path = rg_best_path()
    unsafe bias.withUnsafeBufferPointer { bias in
      guard let values = bias.baseAddress else { return }
      unsafe forEachRow { row, _ in unsafe rg_add_scaled(path, row, values, 1, columns) }
    }
  }

  /// Row i becomes row `indices[i]` of `source`.
  package func gather(_ source: MatrixView, rows indices: ArraySlice<Int32>) {
    precondition(indices.count == rows && columns == source.columns)
    for (row, index) in indices.enumerated() {
      precondition(index >= 0 && Int(index) < source.rows)
      unsafe (base + row * stride).update(
        from: source.base + Int(index) * source.stride, count: columns)
    }
  }

  /// Takes the mean of each row of `source` away; `source` may be this panel.
  package func centre(_ source: MatrixView) {
    precondition(rows == source.rows && columns == source.columns)
    unsafe forEachRow { row, index in
      let values = unsafe source.base + index * source.stride
      var sum = 0.0
      for column in 0..<columns { sum += Double(unsafe values[column]) }
      let mean = Float(sum / Double(columns))
      for column in 0..<columns { unsafe row[column] = unsafe values[column] - mean }
    }
  }

  /// Root-mean-square norm of each row of `source`, times `weight`; `source` may be this panel.
  /// Returns whether all values of `source` are finite.
  @discardableResult
  package func normalise(_ source: MatrixView, weight: [Float], epsilon: Float) -> Bool {
    precondition(rows == source.rows && columns == source.columns && weight.count == columns)
    let path = rg_best_path()
    var finite = true
    unsafe weight.withUnsafeBufferPointer { weight in
      guard let weight = weight.baseAddress else { return }
      unsafe forEachRow { row, index in
        let squares = unsafe rg_rms_norm(
          path, source.base + index * source.stride, weight, epsilon, row, columns)
        finite = finite && squares.isFinite
      }
    }
    return finite
  }

  /// self = silu(self) * up.
  func multiplySiLU(by up: MatrixView) {
    precondition(rows == up.rows && columns == up.columns)
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      unsafe rg_silu_product(path, row, up.base + index * up.stride, columns)
    }
  }

  /// Puts each value between those of `range`.
  func clamp(to range: ClosedRange<Float>) {
    unsafe forEachRow { row, _ in
      for column in 0..<columns {
        unsafe row[column] = min(max(row[column], range.lowerBound), range.upperBound)
      }
    }
  }

  /// self = (u + 1) g sigmoid(alpha g), g the values of self up to `limit`, u those of `up` between
  /// -limit and limit.
  func applyClampedSwiGLU(up: MatrixView, alpha: Float, limit: Float) {
    precondition(rows == up.rows && columns == up.columns)
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      unsafe rg_clamped_swiglu(path, row, up.base + index * up.stride, alpha, limit, columns)
    }
  }

  /// self = gelu(self) * up, gelu by its approximation with tanh.
  func multiplyGELU(by up: MatrixView) {
    precondition(rows == up.rows && columns == up.columns)
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      unsafe rg_gelu_product(path, row, up.base + index * up.stride, columns)
    }
  }

  /// Every value becomes limit · tanh(value / limit).
  package func softCap(_ limit: Float) {
    precondition(limit > 0)
    let path = rg_best_path()
    unsafe forEachRow { row, _ in unsafe rg_soft_cap(path, row, limit, columns) }
  }

  /// Multiplies every row, value by value, by `factors` [columns].
  package func multiply(eachRowBy factors: [Float]) {
    precondition(factors.count == columns)
    unsafe forEachRow { row, _ in
      for column in 0..<columns { unsafe row[column] *= factors[column] }
    }
  }

  /// Turns the scores of row r into weights over its columns `visible(r)`, 0 elsewhere: softmax of
  /// scale · score, in which `sink` is one more term, whose weight is left out.
  package func softmax(
    scale: Float, sink: Float = -.infinity, visible: (Int) -> Range<Int>
  ) {
    let path = rg_best_path()
    unsafe forEachRow { row, index in
      let range = visible(index)
      precondition(range.lowerBound >= 0 && range.upperBound <= columns)
      unsafe row.update(repeating: 0, count: range.lowerBound)
      unsafe rg_softmax(path, row + range.lowerBound, scale, sink, range.count)
      unsafe (row + range.upperBound).update(repeating: 0, count: columns - range.upperBound)
    }
  }

  /// Rotates the pairs of each row by the angles in row `positions[r]` of `cosine` and `sine`
  /// [positions, columns / 2]; a pair is (i, i + half) or, `interleaved`, (2i, 2i + 1).
  package func rotate(
    cosine: MatrixView, sine: MatrixView, positions: ArraySlice<Int32>, interleaved: Bool
  ) {
    let half = columns / 2
    precondition(cosine.columns == half && sine.columns == half && positions.count == rows)
    precondition(cosine.rows == sine.rows)
    let path = rg_best_path()
    for (index, position) in positions.enumerated() {
      precondition(position >= 0 && Int(position) < cosine.rows)
      let row = unsafe base + index * stride
      let cosines = unsafe cosine.base + Int(position) * cosine.stride
      let sines = unsafe sine.base + Int(position) * sine.stride
      if interleaved {
        unsafe rg_rotate_pairs(path, row, cosines, sines, half)
      } else {
        unsafe rg_rotate_halves(path, row, cosines, sines, half)
      }
    }
  }

  /// The sum of squares of each row.
  package var squaredNorms: [Double] {
    let path = rg_best_path()
    var sums: [Double] = []
    sums.reserveCapacity(rows)
    unsafe forEachRow { row, _ in unsafe sums.append(rg_sum_squares(path, row, columns)) }
    return sums
  }

  /// The sum of squares of each row's differences to that of `other`, which has the same shape.
  package func squaredDistances(to other: MatrixView) -> [Double] {
    precondition(rows == other.rows && columns == other.columns)
    let path = rg_best_path()
    var sums: [Double] = []
    sums.reserveCapacity(rows)
    unsafe forEachRow { row, index in
      unsafe sums.append(
        rg_sum_squared_differences(path, row, other.base + index * other.stride, columns))
    }
    return sums
  }
}

// MARK: Sums of exponentials

extension MatrixView {
  /// The largest value of a row and its column.
  package func largest(row: Int) -> (value: Float, column: Int) {
    precondition(row >= 0 && row < rows && columns > 0)
    let values = unsafe base + row * stride
    let value = unsafe rg_max(rg_best_path(), values, columns)
    for column in 0..<columns where unsafe values[column] == value { return (value, column) }
    return (value, 0)
  }

  /// Sum of exp(value - shift) over a row.
  package func sumOfExponentials(row: Int, shift: Float) -> Double {
    precondition(row >= 0 && row < rows && columns > 0)
    return unsafe rg_sum_exp(rg_best_path(), base + row * stride, shift, columns)
  }

  /// Sum of exp(value - shift) · (value - other's value) over a row.
  package func sumOfExponentials(row: Int, shift: Float, timesDifferenceTo other: MatrixView)
    -> Double
  {
    precondition(row >= 0 && row < rows && row < other.rows)
    precondition(columns > 0 && columns == other.columns)
    return unsafe rg_sum_exp_difference(
      rg_best_path(), base + row * stride, other.base + row * other.stride, shift, columns)
  }
}
