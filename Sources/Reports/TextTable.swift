// SPDX-License-Identifier: Apache-2.0

/// A plain-text table: a header, rows, columns as wide as their widest cell, numbers to the right.
package struct TextTable: Sendable {
  /// How a column's cells are placed.
  package enum Alignment: Sendable { case left, right }

  let titles: [String]
  let alignments: [Alignment]
  private(set) var rows: [[String]?] = []

  /// A table with these columns; the first is left-aligned unless `alignments` says otherwise.
  package init(_ titles: [String], alignments: [Alignment]? = nil) {
    self.titles = titles
    self.alignments =
      alignments ?? titles.indices.map { $0 == 0 ? .left : .right }
    precondition(self.alignments.count == titles.count)
  }

  /// Adds a row with one cell per column.
  package mutating func append(_ cells: [String]) {
    precondition(cells.count == titles.count)
    rows.append(cells)
  }

  /// Adds a rule between the rows before and after.
  package mutating func appendRule() { rows.append(nil) }

  /// The table, one line per row, without trailing spaces.
  package func render() -> String {
    let widths = titles.indices.map { column in
      rows.reduce(titles[column].count) { max($0, $1?[column].count ?? 0) }
    }
    let rule = widths.map { String(repeating: "-", count: $0) }.joined(separator: "  ")
    var lines = [line(titles, widths), rule]
    for row in rows { lines.append(row.map { line($0, widths) } ?? rule) }
    return lines.joined(separator: "\n")
  }

  private func line(_ cells: [String], _ widths: [Int]) -> String {
    var text = zip(zip(cells, widths), alignments).map { pair, alignment in
      let padding = String(repeating: " ", count: pair.1 - pair.0.count)
      return alignment == .left ? pair.0 + padding : padding + pair.0
    }.joined(separator: "  ")
    while text.last == " " { text.removeLast() }
    return text
  }
}
