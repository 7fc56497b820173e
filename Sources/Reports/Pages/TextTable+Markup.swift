// SPDX-License-Identifier: Apache-2.0

extension TextTable {
  /// The table for a page, rows and columns as on a terminal; what follows a rule is a summary.
  package var markup: Markup {
    func row(_ cells: [String], _ element: String, _ style: String? = nil) -> Markup {
      let cells = zip(cells, alignments).map { text, alignment in
        alignment == .right
          ? Markup(element, ["class": "right"], text: text) : Markup(element, text: text)
      }
      return style.map { Markup("tr", ["class": $0], cells) } ?? Markup("tr", [:], cells)
    }
    var body: [Markup] = []
    var isSummary = false
    for cells in rows {
      guard let cells else {
        isSummary = true
        continue
      }
      body.append(row(cells, "td", isSummary ? "summary" : nil))
    }
    return Markup(
      "div", ["class": "scroll"],
      [
        Markup(
          "table", [:],
          [Markup("thead", [:], [row(titles, "th")]), Markup("tbody", [:], body)])
      ])
  }
}
