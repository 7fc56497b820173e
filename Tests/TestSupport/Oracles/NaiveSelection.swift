// SPDX-License-Identifier: Apache-2.0

/// Expert groups, in plain numbers.
public struct NaiveGroups {
  public let count: Int
  public let kept: Int
  /// How many of a group's largest scores add up to its own.
  public let best: Int
  /// What the scores of the other groups become.
  public let mask: Float

  public init(count: Int, kept: Int, best: Int, mask: Float) {
    self.count = count
    self.kept = kept
    self.best = best
    self.mask = mask
  }
}

/// The obvious way to choose one token's `topK` experts: full sorts, ties to the lowest number.
public func naiveSelection(
  _ scores: [Float], bias: [Float]?, topK: Int, groups: NaiveGroups?
) -> [Int] {
  var selection = scores
  for expert in scores.indices { selection[expert] += bias?[expert] ?? 0 }
  if let groups {
    let size = scores.count / groups.count
    let totals = (0..<groups.count).map { group in
      selection[group * size..<(group + 1) * size].sorted(by: >).prefix(groups.best).reduce(0, +)
    }
    let kept = indicesByValue(totals).prefix(groups.kept)
    for expert in selection.indices where !kept.contains(expert / size) {
      selection[expert] = groups.mask
    }
  }
  return Array(indicesByValue(selection).prefix(topK))
}

/// Indices from the largest value to the smallest, equal values by index.
private func indicesByValue(_ values: [Float]) -> [Int] {
  values.indices.sorted { values[$0] != values[$1] ? values[$0] > values[$1] : $0 < $1 }
}
