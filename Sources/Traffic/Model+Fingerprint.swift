// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Measures
import Tensors

extension Model {
  /// Tells the model's own routers from all others, in whatever container or exact type they lie:
  /// the fingerprint of ``GateFingerprint``. Gates of multi-token prediction do not count; nil for
  /// a prototype router, which has none.
  package func routerFingerprint() throws(RegateError) -> String? {
    guard !layout.hasPrototypeRouter else { return nil }
    WorkLog.current?.note(.fingerprinting)
    var gates: [(layer: Int, gate: Matrix)] = []
    for layer in layout.layers where layer.index < layout.layerCount {
      gates.append((layer.index, try layer.router(from: checkpoint).gate))
    }
    return GateFingerprint.exact(gates)
  }
}
