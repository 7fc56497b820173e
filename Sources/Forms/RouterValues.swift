// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Checkpoints
package import Routing

/// What a router that is read must be for anything to be computed with it.
package enum RouterValues {
  /// Far above what trained routers hold, and so that Float32 holds sums of squares of the logits.
  private static let limit: Float = 0x1p32

  /// `values` of the tensor `name`, refused where one is not finite or absurdly large.
  package static func checked(
    _ values: [Float], file: String, name: String
  ) throws(RegateError) -> [Float] {
    guard let place = values.firstIndex(where: { !($0.magnitude < limit) }) else { return values }
    throw RegateError(
      .malformed, file: file, subject: name,
      "holds \(values[place].pythonName) at \(place), expected finite values below 2^32",
      advice: "use another copy of the file, or make it anew")
  }

  /// `map`, the logical expert of each physical one, refused where no clone plan makes it.
  package static func checkedMap(
    _ map: [Int], rule: RoutingRule, file: String, name: String
  ) throws(RegateError) -> [Int] {
    guard let problem = rule.problem(physicalToLogical: map) else { return map }
    throw RegateError(
      .malformed, file: file, subject: name, problem,
      advice: "make the file anew: no fit writes such a map")
  }
}
