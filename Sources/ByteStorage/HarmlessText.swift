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
