// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import Tensors

extension Checkpoint {
  /// All values of a tensor, refused where one is NaN or infinite.
  package func finiteFloats(of tensor: TensorInfo) throws(RegateError) -> [Float] {
    let values = try floats(of: tensor)
    try requireFinite(values, of: tensor)
    return values
  }

  /// Refuses `values`, all of a tensor's in the order of `shape` (nil: its own), where one is NaN
  /// or infinite. With `allowingMinusInfinity`, biases that rule out what they are added to are
  /// none of these.
  package func requireFinite(
    _ values: [Float], of tensor: TensorInfo, shape: [Int]? = nil,
    allowingMinusInfinity: Bool = false
  ) throws(RegateError) {
    let place = values.firstIndex {
      !$0.isFinite && !(allowingMinusInfinity && $0 == -.infinity)
    }
    guard let place else { return }
    throw notFinite(values[place], at: place, of: tensor, shape: shape)
  }

  /// The error for the value of a tensor at `index`, row by row; `effect` says what comes of it.
  package func notFinite(
    _ value: Float, at index: Int, of tensor: TensorInfo, shape: [Int]? = nil, effect: String = ""
  ) -> RegateError {
    var rest = index
    var place: [Int] = []
    for size in (shape ?? tensor.shape).reversed() {
      place.insert(rest % max(size, 1), at: 0)
      rest /= max(size, 1)
    }
    return RegateError(
      .malformed, file: files[tensor.file].path, subject: tensor.name,
      "holds \(value.pythonName) at \(place)\(effect)",
      advice: "use another copy of the model, or make it anew")
  }

  /// The first value among `elements` of a tensor that is NaN or infinite, and its place; nil where
  /// there is none or the type is not decodable by itself. Few values are decoded at a time.
  package func firstNotFinite(
    in tensor: TensorInfo, _ elements: Range<Int>
  ) throws(RegateError) -> (index: Int, value: Float)? {
    // Exponents of block scales, of which 255 is NaN.
    if tensor.type == .u8, tensor.name.hasSuffix("scales") {
      return try firstNotFinite(
        in: TensorInfo(
          name: tensor.name, type: .f8e8m0, shape: tensor.shape, file: tensor.file,
          range: tensor.range), elements)
    }
    guard TensorDecoder.supports(tensor.type) else { return nil }
    let step = 1 << 20
    for start in stride(from: elements.lowerBound, to: elements.upperBound, by: step) {
      let count = min(step, elements.upperBound - start)
      guard let first = tensor.type.byteCount(of: start),
        let size = tensor.type.byteCount(of: count)
      else { return nil }
      let values = try floats(of: tensor, part: first..<first + size, count: count)
      if let place = values.firstIndex(where: { !$0.isFinite }) {
        return (start + place, values[place])
      }
    }
    return nil
  }
}
