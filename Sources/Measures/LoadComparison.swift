// SPDX-License-Identifier: Apache-2.0
//
// How differently two texts, or two trainings of a model, use the experts. p and q are the experts'
// shares of a layer's assignments:
//
//   overlap      sum_e min(p_e, q_e)                  1: alike, 0: no expert in common; 1 less the
//                                                     total variation
//   divergence   (KL(p || m) + KL(q || m)) / 2, bits  m = (p + q) / 2; 0 to 1 (Jensen, Shannon)
//   busiest      |A n B| / |A|                        A, B: the E/8 experts of the largest shares

public import Checkpoints
import Foundation
import OrderedCollections

/// Two loads of one model beside each other.
public struct LoadComparison: Sendable, JSONRepresentable {
  /// An expert that one text uses much more than the other.
  public struct Expert: Sendable, Hashable {
    /// The model's number of its layer.
    public let layer: Int
    /// Its number.
    public let expert: Int
    /// Its share of the layer's assignments in the first load, and in the second.
    public let shares: [Double]
  }

  /// One layer that was counted in both.
  public struct Layer: Sendable, Hashable {
    /// The model's number of the layer.
    public let index: Int
    /// Sum over experts of the smaller of both shares.
    public let overlap: Double
    /// Jensen and Shannon's, in bits.
    public let divergence: Double
    /// Share of the busiest eighth of the experts, one at least, that is the same in both.
    public let busiest: Double

    /// Half the sum of the differences of shares: assignments that go elsewhere, as a share.
    public var totalVariation: Double { 1 - overlap }
  }

  /// What the two loads are of.
  public let names: [String]
  /// The layers that were counted in both.
  public let layers: [Layer]
  /// Mean over layers; nil where no layer was counted in both.
  public var overlap: Double? { mean(\.overlap) }
  /// Bits, mean over layers; nil where no layer was counted in both.
  public var divergence: Double? { mean(\.divergence) }
  /// Mean over layers; nil where no layer was counted in both.
  public var busiest: Double? { mean(\.busiest) }
  /// The experts whose shares differ most, the largest difference first.
  public let specialists: [Expert]

  private static let mostSpecialists = 8
  /// One in so many experts is among the busiest.
  private static let busiestEvery = 8

  /// `loads` are assignments [layers][E] each, of the layers `indices`.
  package init(names: [String], loads: [[[Int]]], indices: [Int]) {
    precondition(names.count == 2 && loads.count == 2)
    self.names = names
    var layers: [Layer] = []
    var experts: [Expert] = []
    for (place, index) in indices.enumerated() {
      let totals = loads.map { $0[place].reduce(0) { $0 + Double($1) } }
      guard totals.allSatisfy({ $0 > 0 }) else { continue }
      let shares = zip(loads, totals).map { load, total in load[place].map { Double($0) / total } }
      let busiest = shares.map(Self.busiest)
      layers.append(
        Layer(
          index: index, overlap: zip(shares[0], shares[1]).reduce(0) { $0 + min($1.0, $1.1) },
          divergence: Self.divergence(shares[0], shares[1]),
          busiest: Double(busiest[0].intersection(busiest[1]).count) / Double(busiest[0].count)))
      experts += shares[0].indices.map {
        Expert(layer: index, expert: $0, shares: [shares[0][$0], shares[1][$0]])
      }
    }
    self.layers = layers
    specialists = Array(
      experts.filter { $0.difference > 0 }
        .sorted { ($1.difference, $0.layer, $0.expert) < ($0.difference, $1.layer, $1.expert) }
        .prefix(Self.mostSpecialists))
  }

  private func mean(_ figure: (Layer) -> Double) -> Double? {
    LayerStatistics(layers.map(figure), largestIsWorst: true).mean
  }

  /// The busiest experts; of equal ones those with the lowest numbers.
  private static func busiest(_ shares: [Double]) -> Set<Int> {
    Set(
      shares.indices.sorted { (shares[$1], $0) < (shares[$0], $1) }
        .prefix(max(1, shares.count / busiestEvery)))
  }

  private static func divergence(_ p: [Double], _ q: [Double]) -> Double {
    zip(p, q).reduce(0) { sum, pair in
      let mean = (pair.0 + pair.1) / 2
      return [pair.0, pair.1].reduce(sum) { $0 + ($1 > 0 ? $1 * log2($1 / mean) / 2 : 0) }
    }
  }

  public var json: JSONValue {
    [
      "names": .array(names.map { .string($0) }), "overlap": .optional(overlap),
      "divergence": .optional(divergence), "busiest_overlap": .optional(busiest),
      "specialists": .array(
        specialists.map {
          [
            "layer": .integer($0.layer), "expert": .integer($0.expert),
            "shares": .array($0.shares.map { .number($0) }),
          ]
        }),
    ]
  }
}

extension LoadComparison.Expert {
  fileprivate var difference: Double { abs(shares[0] - shares[1]) }
}
