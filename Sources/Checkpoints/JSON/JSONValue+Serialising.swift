// SPDX-License-Identifier: Apache-2.0

import OrderedCollections

extension JSONValue {
  /// How JSON text is laid out.
  public enum Style: Sendable {
    /// On one line without spaces, as in safetensors headers.
    case compact
    /// Indented by two spaces and closed by a line feed, as Hugging Face writes its files.
    case pretty
    /// The same, with NaN and the infinities as Python's json module writes and reads them.
    case python

    fileprivate var isIndented: Bool { self != .compact }
  }

  /// The value as JSON text in UTF-8. The same value always gives the same bytes; parsing them
  /// gives the value back, except that NaN and the infinities, which JSON lacks, become null.
  public func serialised(_ style: Style) -> [UInt8] {
    var text: [UInt8] = []
    append(to: &text, style: style, indent: 0)
    if style.isIndented { text.append(0x0A) }
    return text
  }

  private func append(to text: inout [UInt8], style: Style, indent: Int) {
    switch self {
    case .null: text += "null".utf8
    case .bool(let value): text += (value ? "true" : "false").utf8
    case .integer(let value): text += String(value).utf8
    // Swift prints the shortest digits that read back as the same Double, always with a fraction
    // or an exponent.
    case .number(let value):
      text += (value.isFinite || style == .python ? value.pythonName : "null").utf8
    case .string(let value): JSONValue.append(value, to: &text)
    case .array(let elements):
      JSONValue.append(elements, between: "[]", to: &text, style: style, indent: indent) {
        $1.append(to: &$0, style: style, indent: indent + 1)
      }
    case .object(let members):
      JSONValue.append(members.elements, between: "{}", to: &text, style: style, indent: indent) {
        JSONValue.append($1.key, to: &$0)
        $0 += (style.isIndented ? ": " : ":").utf8
        $1.value.append(to: &$0, style: style, indent: indent + 1)
      }
    }
  }

  private static func append<Items: Collection>(
    _ items: Items, between brackets: StaticString, to text: inout [UInt8], style: Style,
    indent: Int, _ body: (inout [UInt8], Items.Element) -> Void
  ) {
    let brackets = Array("\(brackets)".utf8)
    text.append(brackets[0])
    for (index, item) in items.enumerated() {
      if index > 0 { text.append(UInt8(ascii: ",")) }
      if style.isIndented { appendLine(to: &text, indent: indent + 1) }
      body(&text, item)
    }
    if style.isIndented, !items.isEmpty { appendLine(to: &text, indent: indent) }
    text.append(brackets[1])
  }

  private static func appendLine(to text: inout [UInt8], indent: Int) {
    text.append(0x0A)
    text.append(contentsOf: repeatElement(0x20, count: indent * 2))
  }

  /// Appends `string` in quotes, escaped as serde_json (and so the official safetensors writer)
  /// does: quote, backslash and control characters only.
  static func append(_ string: String, to text: inout [UInt8]) {
    text.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
      switch byte {
      case UInt8(ascii: "\""): text += #"\""#.utf8
      case UInt8(ascii: "\\"): text += #"\\"#.utf8
      case 0x08: text += #"\b"#.utf8
      case 0x09: text += #"\t"#.utf8
      case 0x0A: text += #"\n"#.utf8
      case 0x0C: text += #"\f"#.utf8
      case 0x0D: text += #"\r"#.utf8
      case 0..<0x20:
        let hex = String(byte, radix: 16)
        text += (byte < 0x10 ? #"\u000"# : #"\u00"#).utf8
        text += hex.utf8
      default: text.append(byte)
      }
    }
    text.append(UInt8(ascii: "\""))
  }
}
