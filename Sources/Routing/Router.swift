// SPDX-License-Identifier: Apache-2.0

package import Tensors

/// Something that sends tokens to experts.
package protocol Router: Sendable {
  /// Number of physical experts, E.
  var experts: Int { get }
  /// Routes `inputs` [T,H]; the result does not depend on `threads`.
  func route(_ inputs: Matrix, threads: Int) -> Assignment
}
