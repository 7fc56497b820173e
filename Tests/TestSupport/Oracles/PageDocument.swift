// SPDX-License-Identifier: Apache-2.0

package import Foundation

#if canImport(FoundationXML)
import FoundationXML
#endif

/// A page, read as XML.
package enum PageDocument {
  /// An element with its own text and its children's after it.
  package final class Element {
    package let name: String
    package let attributes: [String: String]
    package fileprivate(set) var text = ""
    package fileprivate(set) var children: [Element] = []

    init(name: String, attributes: [String: String]) {
      self.name = name
      self.attributes = attributes
    }

    /// All elements below of a name, in order, and of a class where one is given.
    package func all(_ name: String, class style: String? = nil) -> [Element] {
      children.flatMap { child -> [Element] in
        let styles = (child.attributes["class"] ?? "").split(separator: " ").map(String.init)
        let matches = child.name == name && (style.map(styles.contains) ?? true)
        return (matches ? [child] : []) + child.all(name, class: style)
      }
    }
  }

  /// The outermost element of a page; nil where it is not well-formed.
  package static func root(_ page: Data) -> Element? {
    let parser = XMLParser(data: page)
    let tree = Tree()
    parser.delegate = tree
    return parser.parse() ? tree.root : nil
  }
}

/// Builds the elements while a parser meets them.
private final class Tree: NSObject, XMLParserDelegate {
  var root: PageDocument.Element?
  private var open: [PageDocument.Element] = []

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
    qualifiedName: String?, attributes: [String: String]
  ) {
    let element = PageDocument.Element(name: name, attributes: attributes)
    open.last?.children.append(element)
    if open.isEmpty { root = element }
    open.append(element)
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) { open.last?.text += text }

  func parser(
    _ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?
  ) {
    open.removeLast()
  }
}

extension PageDocument.Element {
  /// Heat maps by caption: for each row, the class of every cell; empty where a cell is blank.
  package var heatMaps: [String: [[String]]] {
    var result: [String: [[String]]] = [:]
    for figure in all("figure") where !figure.all("g", class: "cells").isEmpty {
      let caption = figure.all("figcaption").map(\.text).joined()
      result[caption] = figure.all("g", class: "cells")[0].children.map(\.cells)
    }
    return result
  }

  /// The classes of a row's cells, from its strokes `M{start} .5h{length}`.
  private var cells: [String] {
    var cells: [String] = []
    for path in all("path") {
      for stroke in (path.attributes["d"] ?? "").split(separator: "M") {
        let numbers = stroke.replacingOccurrences(of: " .5h", with: ",").split(separator: ",")
          .compactMap { Int($0) }
        guard numbers.count == 2 else { continue }
        let end = numbers[0] + numbers[1]
        if cells.count < end { cells += [String](repeating: "", count: end - cells.count) }
        for cell in numbers[0]..<end { cells[cell] = path.attributes["class"] ?? "" }
      }
    }
    return cells
  }
}
