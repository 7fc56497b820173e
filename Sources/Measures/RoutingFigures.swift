// SPDX-License-Identifier: Apache-2.0

public import Routing

/// Balance of a routing on some tokens, and its agreement with the original's.
public struct RoutingFigures: Sendable, Hashable, Codable {
  /// Assignments per physical expert [E].
  public let load: [Int]
  /// Balance of `load`.
  public let metrics: LoadMetrics
  /// Agreement with the original's routing of the same tokens.
  public let agreement: RoutingAgreement
  /// Distinct physical experts that a batch of `batchTokens` consecutive tokens uses, mean; nil
  /// where there are fewer tokens.
  public let distinctExperts: Double?

  /// Tokens of a batch.
  public static let batchTokens = 32

  private enum CodingKeys: String, CodingKey {
    case load, metrics, agreement
    case distinctExperts = "distinct_experts"
  }

  /// The tokens `rows` (nil: all) of two routings of the same inputs; the maps name the logical
  /// expert that each physical expert holds, [E].
  package init(
    original: Assignment, originalMap: [Int], patched: Assignment, patchedMap: [Int],
    rows: [Int]? = nil
  ) {
    let before = rows.map(original.gathering(tokens:)) ?? original
    let after = rows.map(patched.gathering(tokens:)) ?? patched
    load = after.load(experts: patchedMap.count)
    metrics = LoadMetrics(load: load)
    distinctExperts = after.batchDistinctExperts(
      experts: patchedMap.count, batch: Self.batchTokens)
    agreement = RoutingAgreement(
      original: before, originalMap: originalMap, patched: after, patchedMap: patchedMap)
  }
}
