// SPDX-License-Identifier: Apache-2.0
//
// Operations on vectors over experts, one token at a time, by the kernels of
// CKernels/RowKernels.h.
//
// SAFETY: a kernel is told the counts of the spans that it reads and writes; those of different
// spans are compared first. A span's memory is not null where its count is not 0.

import CKernels

extension Span<Float> {
  /// Puts the places of the largest values into `places`, as many as it has, the largest first and
  /// the lowest place first where values are equal.
  ///
  /// Returns how many there are: NaN and -infinity are none. There are a multiple of 8 values.
  package func findLargest(_ places: inout MutableSpan<Int32>) -> Int {
    precondition(count % 8 == 0)
    return unsafe withUnsafeBufferPointer { values in
      unsafe places.withUnsafeMutableBufferPointer { places in
        guard let base = values.baseAddress, let found = places.baseAddress else { return 0 }
        return unsafe rg_largest_places(rg_best_path(), base, values.count, found, places.count)
      }
    }
  }
}

extension MutableSpan<Float> {

  /// The first values become the sums of `values` and `others`, which are as many.
  package mutating func set(sumOf values: Span<Float>, _ others: Span<Float>) {
    precondition(values.count == others.count && values.count <= count)
    unsafe withUnsafeMutableBufferPointer { sums in
      unsafe values.withUnsafeBufferPointer { values in
        unsafe others.withUnsafeBufferPointer { others in
          guard let sums = sums.baseAddress, let base = values.baseAddress,
            let others = others.baseAddress
          else { return }
          unsafe rg_sum(rg_best_path(), base, others, sums, values.count)
        }
      }
    }
  }

  /// Values become their exponentials.
  package mutating func exponentiate() {
    unsafe withUnsafeMutableBufferPointer { values in
      guard let base = values.baseAddress else { return }
      unsafe rg_exp(rg_best_path(), base, values.count)
    }
  }

  /// Multiplies by the sigmoids of `gate`, which has as many values.
  package mutating func multiply(bySigmoidOf gate: Span<Float>) {
    precondition(gate.count == count)
    unsafe withUnsafeMutableBufferPointer { values in
      unsafe gate.withUnsafeBufferPointer { gate in
        guard let base = values.baseAddress, let gate = gate.baseAddress else { return }
        unsafe rg_sigmoid_product(rg_best_path(), base, gate, values.count)
      }
    }
  }

  /// The first values become 1 / (1 + exp((t - compared) / width)) with t such that they sum to
  /// `sum` within 1e-5, sought from `threshold`.
  ///
  /// There are a multiple of 16 compared values; one of -infinity gets 0.
  package mutating func set(
    softMembersOf compared: Span<Float>, sum: Float, width: Float, from threshold: Float
  ) {
    precondition(compared.count % 16 == 0 && compared.count <= count)
    unsafe withUnsafeMutableBufferPointer { members in
      unsafe compared.withUnsafeBufferPointer { compared in
        guard let members = members.baseAddress, let base = compared.baseAddress else { return }
        unsafe rg_soft_members(
          rg_best_path(), base, sum, width, threshold, members, compared.count)
      }
    }
  }
}
