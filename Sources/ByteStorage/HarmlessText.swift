// SPDX-License-Identifier: Apache-2.0

extension String {
  /// With U+FFFD for every control character, which a terminal would obey: names come from
  /// untrusted files. Line feeds stay where the text is of several `lines`.
  package func harmless(lines: Bool = false) -> String {
    func isControl(_ scalar: Unicode.Scalar) -> Bool {
      (scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)) && !(lines && scalar == "\n")
    }
    guard unicodeScalars.contains(where: isControl) else { return self }
    var result = String.UnicodeScalarView()
    for scalar in unicodeScalars { result.append(isControl(scalar) ? "\u{FFFD}" : scalar) }
    return String(result)
  }
}

extension [UInt8] {
  /// JSON text with the control characters escaped that JSON lets pass, U+007F to U+009F: they
  /// stand in its strings only.
  package var harmlessJSON: [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(count)
    for (place, byte) in enumerated() {
      let isLead = byte == 0xC2 && place + 1 < count && (0x80...0x9F).contains(self[place + 1])
      let isControl = byte == 0x7F || (place > 0 && self[place - 1] == 0xC2 && 0x80...0x9F ~= byte)
      guard !isLead else { continue }
      if isControl { result += "\\u00\(String(byte, radix: 16))".utf8 } else { result.append(byte) }
    }
    return result
  }
}
