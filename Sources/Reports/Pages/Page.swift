// SPDX-License-Identifier: Apache-2.0

/// A self-contained page: inline style and drawings, no script, nothing fetched; light or dark as
/// the reader's system is, and fit for printing.
public struct Page: Sendable {
  /// One figure in large type.
  public struct Tile: Sendable {
    let name: String
    let value: String
    let note: String

    /// `value` is what counts; `note` says what it is measured against.
    public init(_ name: String, _ value: String, note: String = "") {
      self.name = name
      self.value = value
      self.note = note
    }
  }

  /// The bytes that every page of this tool begins with.
  public static let signature =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>"
    + "<meta name=\"generator\" content=\"Regate"

  private let title: String
  private let version: String
  private let lines: [String]
  private var warnings: [String] = []
  private var sections: [Markup] = []

  /// A page that begins with its title and some lines on what it shows.
  public init(title: String, lines: [String], version: String) {
    self.title = title
    self.lines = lines
    self.version = version
  }

  /// Adds a section.
  package mutating func append(_ heading: String, _ content: [Markup]) {
    sections.append(Markup("section", [:], [Markup("h2", text: heading)] + content))
  }

  /// Adds figures in large type.
  public mutating func append(_ tiles: [Tile]) {
    sections.append(
      Markup(
        "div", ["class": "tiles"],
        tiles.map { tile in
          Markup(
            "div", ["class": "tile"],
            [
              Markup("div", ["class": "name"], text: tile.name),
              Markup("div", ["class": "value"], text: tile.value),
              Markup("div", ["class": "note"], text: tile.note),
            ])
        }))
  }

  /// Adds lines that a reader must not miss, which stand before all sections; each once.
  public mutating func append(warnings: [String]) {
    self.warnings += warnings.filter { !self.warnings.contains($0) }
  }

  /// The page's text.
  public func render() -> String {
    let head = [
      Markup("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
      Markup("title", text: title), .style(PageStyle.sheet),
    ]
    let main = Markup(
      "main", [:],
      [Markup("h1", text: title)] + lines.map { Markup("p", ["class": "lead"], text: $0) }
        + (warnings.isEmpty ? [] : [.list(warnings, kind: "warnings")]) + sections)
    let footer = Markup("footer", text: "Made by regate \(version).")
    return Page.signature + " \(version)\"/>" + head.map(\.source).joined()
      + "</head>\n" + Markup("body", [:], [main, footer]).source + "</html>\n"
  }
}
