// SPDX-License-Identifier: Apache-2.0
//
// What a page is made of, read back as XML.

import Foundation
import Reports
import TestSupport
import Testing

private func document(_ pieces: [Markup]) throws -> PageDocument.Element {
  var page = Page(title: "title", lines: [], version: "1")
  page.append("section", pieces)
  return try #require(PageDocument.root(Data(page.render().utf8)))
}

private let scale = ColourScale(bounds: [1, 2, 3, 4, 5, 6, 7, 8], zero: "nothing", decimals: 1)

private func heatMap(_ rows: [[Double?]]) -> HeatMap {
  HeatMap(
    rows.enumerated().map { .init(label: "\($0)", title: "row \($0)", values: $1) }, scale: scale,
    caption: "map", rowName: "row", columnName: "column")
}

@Suite struct PageTests {
  @Test func `a page defines the colours of its series, for light and dark screens`() {
    let text = Page(title: "t", lines: [], version: "1").render()
    for colour in 0..<LineChart.colours {
      #expect(text.contains(".c\(colour){--at:var(--c\(colour))}"))
      let values = text.matches(of: /--c(\d):(#[0-9a-f]{6})/).filter { Int($0.1) == colour }
      #expect(Set(values.map(\.2)).count == 2)
    }
  }

  @Test func `a page is well-formed, fetches nothing and runs nothing`() throws {
    var page = Page(title: "a title", lines: ["one", "two"], version: "9.9")
    page.append(warnings: ["careful"])
    page.append([.init("Gini", "0.1", note: "floor 0.01"), .init("KL", "-")])
    page.append("map", [heatMap([[0, 1]]).markup])
    let text = page.render()
    #expect(text.hasPrefix(Page.signature + " 9.9\""))
    for word in ["http:", "https:", "<script", "<link", "<img", "@import", "url(", "src="] {
      #expect(!text.contains(word), "\(word)")
    }
    #expect(text.contains("prefers-color-scheme:dark") && text.contains("@media print"))
    let root = try #require(PageDocument.root(Data(text.utf8)))
    #expect(root.all("title").first?.text == "a title")
    #expect(root.all("h1").map(\.text) == ["a title"])
    #expect(root.all("div", class: "value").map(\.text) == ["0.1", "-"])
    #expect(root.all("ul", class: "warnings").flatMap { $0.all("li") }.map(\.text) == ["careful"])
  }

  @Test func `every text is escaped, and control characters are marked`() throws {
    let evil = "</text><script>alert('a')</script> & \"b\" \u{0}\u{1B}\u{202E}\u{FFFE}é"
    let shown = "</text><script>alert('a')</script> & \"b\" \u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}é"
    var table = TextTable([evil, "x"])
    table.append([evil, evil])
    let chart = LineChart(
      evil, x: .init(evil), y: .init(evil),
      series: [.init(evil, colour: 0, points: [(0, 1), (1, 2)], labels: [evil])])
    let map = HeatMap(
      [.init(label: evil, title: evil, values: [1])], scale: scale, caption: evil, rowName: evil,
      columnName: evil)
    var page = Page(title: evil, lines: [evil], version: "1")
    page.append(warnings: [evil])
    page.append([.init(evil, evil, note: evil)])
    page.append(evil, [table.markup, chart.markup, map.markup, .note(evil), .paragraph(evil)])
    let root = try #require(PageDocument.root(Data(page.render().utf8)))
    #expect(root.all("script").isEmpty)
    for (name, style) in [
      ("title", nil), ("h1", nil), ("h2", nil), ("td", "right"), ("figcaption", nil),
      ("p", "note"), ("p", "lead"), ("div", "value"), ("text", "middle"),
    ] {
      #expect(root.all(name, class: style).contains { $0.text == shown }, "\(name)")
    }
    #expect(root.all("svg").contains { $0.attributes["aria-label"] == shown })
  }

  @Test func `a heat map colours every cell by its class`() throws {
    let map = try document([heatMap([[0, 0.5, 1, 1.5, 8, 9], [nil, 4.5, 4.6, .nan, 0]]).markup])
    #expect(
      map.heatMaps["map"] == [
        ["zero", "d0", "d0", "d1", "d7", "d8"], ["", "d4", "d4", "", "zero"],
      ])
    #expect(map.all("g", class: "cells")[0].all("title").map(\.text) == ["row 0", "row 1"])
    #expect(map.all("ul", class: "legend").flatMap { $0.all("li") }.count == 10)
  }

  @Test func `cells of one class side by side are one stroke`() throws {
    let map = try document([heatMap([[1, 1, 1, 2, 1, 1]]).markup])
    let paths = map.all("g", class: "cells")[0].all("path")
    #expect(paths.map { $0.attributes["d"] } == ["M0 .5h3M4 .5h2", "M3 .5h1"])
  }

  @Test func `61 layers of 384 experts stay small and lose no cell`() throws {
    var random = SeededGenerator(seed: 5)
    let rows = (0..<61).map { _ in (0..<384).map { _ in Double.random(in: 0...10, using: &random) }
    }
    let markup = heatMap(rows.map { $0.map { $0 } }).markup
    #expect(markup.source.utf8.count < 250_000)
    let cells = try #require(try document([markup]).heatMaps["map"])
    #expect(cells.count == 61 && cells.allSatisfy { $0.count == 384 && !$0.contains("") })
  }

  @Test func `a chart draws what is finite`() throws {
    let chart = LineChart(
      "chart", x: .init("layer", whole: true), y: .init("Gini", lower: 0),
      series: [
        .init("before", colour: 0, points: [(0, 0.5), (1, nil), (2, .infinity), (3, 0.25)]),
        .init("floor", colour: 0, kind: .reference, points: [(0, 0.1), (3, 0.1)]),
        .init("knee", colour: 2, kind: .marks, points: [(1, 0.3)], labels: ["here"]),
      ])
    let root = try document([chart.markup])
    let lines = root.all("polyline")
    #expect(lines.count == 2)
    #expect(lines[0].attributes["points"]?.split(separator: " ").count == 2)
    #expect(root.all("circle", class: "c0").count == 2)
    // The mark itself, and the legend's.
    #expect(root.all("circle", class: "c2").count == 2)
    #expect(root.all("text").contains { $0.text == "here" })
    #expect(root.all("text").contains { $0.text == "0.5" })
  }

  @Test func `a chart of one point, or of none, is drawn`() throws {
    for points in [[(x: 4.0, y: Optional(0.0))], []] {
      let chart = LineChart(
        "chart", x: .init("x"), y: .init("y"), series: [.init("a", colour: 0, points: points)])
      let root = try document([chart.markup])
      #expect(root.all("polyline").isEmpty)
      #expect(root.all("circle").count == points.count)
      #expect(!chart.markup.source.contains("nan"))
    }
  }

  @Test func `a table keeps its cells, and marks what is a summary`() throws {
    var table = TextTable(["layer", "Gini"])
    table.append(["0", "0.5"])
    table.append(["1", "0.7"])
    table.appendRule()
    table.append(["mean", "0.6"])
    let root = try document([table.markup])
    #expect(root.all("th").map(\.text) == ["layer", "Gini"])
    #expect(root.all("td").map(\.text) == ["0", "0.5", "1", "0.7", "mean", "0.6"])
    #expect(
      root.all("tr", class: "summary").flatMap { $0.all("td") }.map(\.text) == ["mean", "0.6"])
    #expect(root.all("td", class: "right").map(\.text) == ["0.5", "0.7", "0.6"])
  }
}
