// SPDX-License-Identifier: Apache-2.0

extension RoutingRule {
  /// The most physical experts that one logical expert may have: a token takes it once, and each of
  /// n of them is to carry K/E of the tokens.
  package var clonesLimit: Int { experts / topK }

  /// What makes `map`, the logical expert of each physical one, impossible to route by; nil where
  /// nothing does. Fewer physical experts than logical ones: the others are pruned.
  package func problem(physicalToLogical map: [Int]) -> String? {
    guard map.count >= experts else { return problem(keeping: map) }
    guard map.count == experts else {
      return "has \(map.count) values for \(experts) physical experts"
    }
    var copies = [Int](repeating: 0, count: experts)
    for logical in map {
      guard copies.indices.contains(logical) else {
        return "names the logical expert \(logical), outside 0..<\(experts)"
      }
      copies[logical] += 1
    }
    if let logical = copies.firstIndex(where: { $0 > clonesLimit }) {
      return
        "gives logical expert \(logical) \(copies[logical]) physical experts, expected at most "
        + "\(clonesLimit), which is \(experts)/\(topK)"
    }
    let selectable = copies.map { $0 > 0 }
    guard Selection.alwaysOffers(topK, of: selectable, rule: self) else {
      let count = selectable.count { $0 }
      return "leaves \(count) distinct experts, from which a token cannot always take its \(topK)"
    }
    return nil
  }
}
