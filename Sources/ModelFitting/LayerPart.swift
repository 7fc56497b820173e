// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Checkpoints

/// Some of a model's layers, fitted apart from the others.
public enum LayerPart: Sendable, Hashable, CustomStringConvertible {
  /// The MoE layers among these, by the model's numbers.
  case range(ClosedRange<Int>)
  /// The number-th of so many shares of all MoE layers, from 1.
  case share(Int, of: Int)

  /// `4-7`, or `2/4`.
  package init?(_ text: String) {
    func numbers(_ separator: Character) -> (Int, Int)? {
      let words = text.split(separator: separator, omittingEmptySubsequences: false)
      guard words.count == 2, let first = Int(words[0]), let second = Int(words[1]) else {
        return nil
      }
      return (first, second)
    }
    if let (first, last) = numbers("-"), first >= 0, first <= last {
      self = .range(first...last)
    } else if let (number, count) = numbers("/"), number > 0, number <= count {
      self = .share(number, of: count)
    } else {
      return nil
    }
  }

  public var description: String {
    switch self {
    case .range(let range): "\(range.lowerBound)-\(range.upperBound)"
    case .share(let number, let count): "\(number)/\(count)"
    }
  }

  /// The MoE layers of `model` that are meant.
  package func layers(of model: Model) throws(RegateError) -> [MoELayer] {
    let all = model.layout.layers
    switch self {
    case .range(let range):
      let count = max(model.layout.layerCount, (all.last?.index ?? 0) + 1)
      guard range.upperBound < count else {
        throw refusal("names layer \(range.upperBound), but the last one is \(count - 1)", model)
      }
      let layers = all.filter { range.contains($0.index) }
      guard !layers.isEmpty else {
        throw refusal("holds no MoE layer: these are \(LayerPart.words(all.map(\.index)))", model)
      }
      return layers
    case .share(let number, let count):
      guard count > 0, (1...count).contains(number) else {
        throw refusal("is no share: 1/n to n/n are", model)
      }
      guard count <= all.count else {
        throw refusal("asks for \(count) shares of \(all.count) MoE layers", model)
      }
      let (quotient, rest) = all.count.quotientAndRemainder(dividingBy: count)
      func bound(_ place: Int) -> Int { quotient * place + min(rest, place) }
      return Array(all[bound(number - 1)..<bound(number)])
    }
  }

  private func refusal(_ problem: String, _ model: Model) -> RegateError {
    RegateError(
      .refused, file: model.checkpoint.path, subject: "`layers` \(self)", problem,
      advice: "give a range of the model's layers, or fewer shares")
  }

  /// Numbers of layers, ascending, in words: `0-3, 5`.
  package static func words(_ layers: [Int]) -> String {
    var runs: [ClosedRange<Int>] = []
    for layer in layers {
      if let last = runs.last, last.upperBound < layer, last.upperBound == layer - 1 {
        runs[runs.count - 1] = last.lowerBound...layer
      } else {
        runs.append(layer...layer)
      }
    }
    return runs.map {
      $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
    }.joined(separator: ", ")
  }
}
