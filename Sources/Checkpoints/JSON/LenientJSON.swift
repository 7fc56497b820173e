// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// A JSON file that is not Regate's own, read as Python's json module reads it: with NaN,
/// infinities and repeated keys, of which the last counts.
package struct LenientJSON: Sendable {
  package let value: JSONValue
  /// What a strict reader would have refused; nil where that is nothing.
  package let warning: String?

  package init(contentsOf path: String) throws(RegateError) {
    var reader = try JSONReader(contentsOf: path, dialect: .python)
    value = try reader.readValue()
    try reader.finish()
    warning = reader.liberties.warning(file: path.lastPathComponent)
  }
}
