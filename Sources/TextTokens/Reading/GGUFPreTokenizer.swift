// SPDX-License-Identifier: Apache-2.0

/// A pre-tokenizer that `tokenizer.ggml.pre` names, as llama.cpp knows it.
package struct GGUFPreTokenizer: Sendable {
  /// One way of cutting; each cuts the pieces that those before it left.
  enum Cut: Sendable {
    /// The matches of a pattern are pieces of their own.
    case pattern(String)
    /// Groups of three digits from the end of a run, of any script: a piece ends with each.
    case numbers
    /// The same of ASCII digits: a piece begins with each.
    case thousands
  }

  /// How the vocabulary spells text.
  enum Spelling: Sendable {
    /// Bytes as characters of the byte alphabet.
    case byteAlphabet
    /// As it is. Bytes without a token are spelled `<0x00>`...`<0xFF>`.
    case plain
    /// As it is, but for spaces, which are "▁".
    case marked
  }

  var cuts: [Cut]
  var spelling = Spelling.byteAlphabet
  /// Pieces that are taken as they are, if they are tokens.
  var wholePieces = BytePairModel.WholePieces.none
  /// Puts the beginning token first where the file does not say.
  var addsBeginning = false
  /// Puts the beginning token first whatever the file says.
  var requiresBeginning = false
  /// The token that begins and ends a document where the file names none.
  var controlToken: Int? = 11

  init(_ patterns: [String]) { cuts = patterns.map { .pattern($0) } }

  /// Whether llama.cpp knows the name.
  package static func isKnown(_ name: String) -> Bool { named(name) != nil }

  /// The pre-tokenizer of this name, or nil.
  static func named(_ name: String) -> GGUFPreTokenizer? {
    guard let patterns = GGUFPatterns.named(name) else { return special(name) }
    var named = GGUFPreTokenizer(patterns)
    switch name {
    case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano", "tekken":
      named.wholePieces = .all
      named.addsBeginning = true
    case "glm4", "glm5":
      named.wholePieces = .all
      named.controlToken = nil
    case "chatglm-bpe": named.controlToken = nil
    case "minicpm5", "youtu", "granite-embed-multi-97m": named.wholePieces = .all
    case "chameleon": named.addsBeginning = true
    default: break
    }
    return named
  }

  /// Those that do more than match patterns over the byte alphabet.
  private static func special(_ name: String) -> GGUFPreTokenizer? {
    var named = GGUFPreTokenizer([])
    switch name {
    case "tiny_aya", "cohere2moe": named.cuts = [.numbers, .pattern(GGUFPatterns.tinyAya)]
    case "afmoe":
      named.cuts = [.numbers] + GGUFPatterns.afmoe.map { .pattern($0) }
    case "superbpe": named.cuts = [.pattern(#"\p{N}+"#), .thousands]
    case "gemma4", "granite-embed-multi-311m":
      named = GGUFPreTokenizer([GGUFPatterns.lines])
      named.spelling = .marked
      named.wholePieces = .newlines
      named.requiresBeginning = true
    case "sarvam-moe":
      named = GGUFPreTokenizer([GGUFPatterns.lines])
      named.spelling = .marked
    case "whitespace":
      named = GGUFPreTokenizer([#"\S+"#])
      named.spelling = .plain
    default: return nil
    }
    return named
  }

  /// The steps that cut text.
  func steps() throws(PatternProblem) -> [PreTokenizerStep] {
    var steps: [PreTokenizerStep] = []
    for cut in cuts {
      switch cut {
      case .pattern(let pattern):
        steps.append(.split(try Pattern(pattern), .isolated, inverted: false))
      case .numbers:
        steps.append(.groups(DigitGroups(of: .numbers, takesRest: true), .mergedWithPrevious))
      case .thousands:
        let digits = ScalarSet([0x30...0x39])
        steps.append(.groups(DigitGroups(of: digits, takesRest: false), .mergedWithNext))
      }
    }
    return steps
  }
}
