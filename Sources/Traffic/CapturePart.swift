// SPDX-License-Identifier: Apache-2.0
//
// A choice of sequences that several machines capture. Each makes the same choice of the same text
// and takes consecutive sequences of it, so that the parts, one after the other, are what one
// machine captures, token for token. What is held out is told only then, of all of them.

public import ByteStorage
import Checkpoints
import OrderedCollections

/// One of several shares of the chosen sequences.
public struct CapturePart: Sendable, Hashable, CustomStringConvertible {
  /// From 1.
  public let number: Int
  public let count: Int

  public init(_ number: Int, of count: Int) throws(RegateError) {
    guard count > 0, (1...count).contains(number) else {
      throw RegateError(
        .refused, subject: "`part`", "\(number)/\(count) is no share",
        advice: "give 1/n to n/n, a part for each of n runs")
    }
    self.number = number
    self.count = count
  }

  /// `2/4`.
  package init?(_ text: String) {
    let words = text.split(separator: "/", omittingEmptySubsequences: false)
    guard words.count == 2, let number = Int(words[0]), let count = Int(words[1]),
      let part = try? CapturePart(number, of: count)
    else { return nil }
    self = part
  }

  public var description: String { "\(number)/\(count)" }
}

extension TokenSet {
  /// The sequences of one part, in their order.
  package func share(of part: CapturePart) throws(RegateError) -> TokenSet {
    guard part.count <= sequences.count else {
      throw RegateError(
        .refused, subject: "`part`",
        "asks for \(part.count) parts, but \(sequences.count) sequences were chosen",
        advice: "ask for fewer parts, or a shorter `length`")
    }
    let bounds = [part.number - 1, part.number].map { place in
      let (quotient, rest) = sequences.count.quotientAndRemainder(dividingBy: part.count)
      return quotient * place + min(rest, place)
    }
    return TokenSet(sequences: Array(sequences[bounds[0]..<bounds[1]]), runnable: runnable)
  }
}
