// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import Tensors

extension Checkpoint {
  /// All values of a tensor, or of `part` of its bytes, which must hold `count` elements.
  package func floats(
    of tensor: TensorInfo, part: Range<Int>? = nil, count: Int? = nil
  ) throws(RegateError) -> [Float] {
    try naming(tensor) { () throws(RegateError) in
      try withBytes(of: tensor, part: part) { bytes throws(RegateError) in
        try TensorDecoder.decode(bytes, type: tensor.type, count: count ?? tensor.elementCount)
      }
    }
  }

  /// Runs `body`, whose errors know neither file nor tensor, and adds both.
  package func naming<Value>(
    _ tensor: TensorInfo, _ body: () throws(RegateError) -> Value
  ) throws(RegateError) -> Value {
    do throws(RegateError) {
      return try body()
    } catch {
      throw RegateError(
        error.code, file: error.file ?? files[tensor.file].path,
        subject: error.subject ?? tensor.name, error.problem, advice: error.advice)
    }
  }
}
