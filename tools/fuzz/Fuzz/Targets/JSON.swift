// SPDX-License-Identifier: Apache-2.0

import Checkpoints

extension Target {
  /// Strictly and as Python does; what was read is written again and must be read as the same.
  static let json = Target("json") { bytes in
    let path = Scratch.write(bytes, to: "a.json")
    _ = try? LenientJSON(contentsOf: path)
    let value = try JSONValue(parsing: bytes, file: path)
    for style in [JSONValue.Style.compact, .pretty] {
      let again = try JSONValue(parsing: value.serialised(style), file: path)
      precondition(again == value, "a value does not read back as itself")
    }
  }
}
