// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Tensors

extension ElementType {
  /// Bytes of a tensor of `shape`, or an error about `subject` of `file`.
  func byteCount(shape: [Int], file: String?, subject: String) throws(RegateError) -> Int {
    // Zeros are left out at first: other code multiplies some of the dimensions on their own.
    var product = 1
    for dimension in shape where dimension != 0 {
      let (next, overflow) = product.multipliedReportingOverflow(by: dimension)
      guard dimension > 0, !overflow else {
        throw RegateError(
          .malformed, file: file, subject: subject,
          "shape \(shape) has too many elements to count")
      }
      product = next
    }
    guard let bytes = byteCount(of: shape.contains(0) ? 0 : product) else {
      throw RegateError(
        .malformed, file: file, subject: subject,
        "\(rawValue) \(shape) does not fill whole bytes, or more than can be counted")
    }
    return bytes
  }
}
