// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A piece of a page: HTML or inline SVG that is also well-formed XML. Text and attribute values
/// are escaped where they enter, so that no name from a file can become markup.
package struct Markup: Sendable, Hashable {
  /// The escaped source text.
  package let source: String

  private init(source: String) { self.source = source }

  /// Plain text.
  package static func text(_ text: String) -> Markup { Markup(source: escaped(text)) }

  /// An element with its attributes, in order, and its children.
  package init(
    _ name: String, _ attributes: KeyValuePairs<String, String> = [:], _ children: [Markup] = []
  ) {
    let opening = attributes.reduce(into: "<" + name) {
      $0 += " \($1.key)=\"\(Markup.escaped($1.value))\""
    }
    // HTML reads `<td/>` as an open tag: only elements without content may end that way.
    if children.isEmpty, Markup.contentless.contains(name) {
      source = opening + "/>"
    } else {
      source = opening + ">" + children.map(\.source).joined() + "</\(name)>"
    }
  }

  /// An element that holds only text.
  package init(
    _ name: String, _ attributes: KeyValuePairs<String, String> = [:], text: String
  ) {
    self.init(name, attributes, [.text(text)])
  }

  /// A style sheet, which HTML does not unescape: it must hold neither `<` nor `&`.
  static func style(_ sheet: String) -> Markup {
    precondition(!sheet.contains("<") && !sheet.contains("&"))
    return Markup(source: "<style>\(sheet)</style>")
  }

  private static let contentless: Set<String> = [
    "meta", "br", "path", "line", "rect", "circle", "polyline",
  ]

  private static func escaped(_ text: String) -> String {
    var result = ""
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(isAllowed(scalar) ? scalar : "\u{FFFD}")
      }
    }
    return result
  }

  /// XML's `Char` without the control characters that HTML frowns upon and the marks that turn the
  /// direction of text, by which a name could pose as another.
  private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x09, 0x0A: true
    case 0..<0x20, 0x7F...0x9F, 0x202A...0x202E, 0x2066...0x2069, 0xFFFE, 0xFFFF: false
    default: scalar.value & 0xFFFE != 0xFFFE
    }
  }
}

extension Markup {
  /// A paragraph of plain text.
  package static func paragraph(_ text: String) -> Markup { Markup("p", text: text) }

  /// A remark, smaller than a paragraph.
  package static func note(_ text: String) -> Markup { Markup("p", ["class": "note"], text: text) }

  /// A list of plain lines.
  package static func list(_ lines: [String], kind: String) -> Markup {
    Markup("ul", ["class": kind], lines.map { Markup("li", text: $0) })
  }

  /// Pieces side by side where the window is wide enough.
  package static func grid(_ pieces: [Markup]) -> Markup {
    Markup("div", ["class": "grid"], pieces)
  }

  /// Many small pictures in rows.
  package static func multiples(_ pieces: [Markup]) -> Markup {
    Markup("div", ["class": "multiples"], pieces)
  }
}

extension Double {
  /// A coordinate of a drawing: at most two decimals, none that are zero.
  var coordinate: String {
    let hundredths = (self * 100).rounded()
    if hundredths.truncatingRemainder(dividingBy: 100) == 0 { return String(Int(hundredths / 100)) }
    var text = String(format: "%.2f", hundredths / 100)
    while text.last == "0" { text.removeLast() }
    return text
  }
}
