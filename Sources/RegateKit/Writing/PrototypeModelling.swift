// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
package import OrderedCollections

/// The Python files with which transformers loads a prototype checkpoint (`trust_remote_code`). They
/// are `Modelling/*.py` of this module, embedded in the binary.
package enum PrototypeModelling {
  /// Written beside the weights. The names say whose they are: a checkpoint may bring code itself.
  package static let files: OrderedDictionary<String, [UInt8]> = [
    "configuration_regate.py": PackageResources.configuration_regate_py,
    "modeling_regate.py": PackageResources.modeling_regate_py,
  ]

  /// What the names of a family's classes begin with in those files.
  static func classPrefix(of family: Family) throws(RegateError) -> String {
    guard let prefix = family.forms.classPrefix else {
      throw RegateError(
        .unsupported, subject: "--router lpr", "has no modelling files for \(family.title)",
        advice: "use --router stock")
    }
    return prefix
  }
}
