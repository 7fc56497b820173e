// SPDX-License-Identifier: Apache-2.0
//
// Where the router has a norm of its own (Gemma 4), it reads x = n s / sqrt(H), and experts read
// n w: n are the layer's hidden states, normalised without a weight, s the router's scale, w the
// experts' norm. A capture holds x, of which the experts' inputs are made: x w sqrt(H) / s.

package import ByteStorage
package import Checkpoints

/// What makes the inputs of a layer's router and experts differ.
package struct RouterInput: Sendable {
  /// s [H].
  package let scale: TensorInfo
  /// w [H].
  package let expertNorm: TensorInfo

  /// The weight of a norm that gives what the router reads.
  package func norm(in checkpoint: any Checkpoint) throws(RegateError) -> [Float] {
    let values = try checkpoint.finiteFloats(of: scale)
    let root = Float(values.count).squareRoot()
    return values.map { $0 / root }
  }

  /// What the router's inputs are multiplied by for the experts.
  package func expertFactors(in checkpoint: any Checkpoint) throws(RegateError) -> [Float] {
    let weights = try checkpoint.finiteFloats(of: expertNorm)
    let scales = try norm(in: checkpoint)
    let factors = zip(weights, scales).map { $0 / $1 }
    guard let place = factors.firstIndex(where: { !$0.isFinite }) else { return factors }
    throw RegateError(
      .unsupported, file: checkpoint.path, subject: scale.name,
      "has \(scales[place]) times the root of \(scales.count) at [\(place)], from which the"
        + " experts' inputs cannot be told",
      advice: "Regate needs router scales other than 0")
  }
}
