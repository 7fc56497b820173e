// SPDX-License-Identifier: Apache-2.0

// The properties that pre-tokenizer patterns ask for, as of Unicode 16: that is what Oniguruma has
// in Python's tokenizers 0.23. Swift's tables may be newer; what they know beyond is taken as
// unassigned, so that a token sequence does not depend on the system's Unicode version.

extension ScalarSet {
  private static let unicodeVersion = 16

  /// The set that `\p{name}` stands for, or nil where `name` is none of those supported.
  static func property(_ name: String) -> ScalarSet? {
    switch name {
    case "L", "Letter": letters
    case "N", "Number": numbers
    case "M", "Mark": marks
    case "P", "Punct", "Punctuation": punctuation
    case "S", "Symbol": symbols
    case "Lu": categories([.uppercaseLetter])
    case "Ll": categories([.lowercaseLetter])
    case "Lt": categories([.titlecaseLetter])
    case "Lm": categories([.modifierLetter])
    case "Lo": categories([.otherLetter])
    case "Mn": categories([.nonspacingMark])
    case "Nd": digits
    case "Z": categories([.spaceSeparator, .lineSeparator, .paragraphSeparator])
    case "Han", "Script=Han": han
    default: nil
    }
  }

  static let letters = categories([
    .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
  ])
  static let numbers = categories([.decimalNumber, .letterNumber, .otherNumber])
  static let digits = categories([.decimalNumber])
  static let marks = categories([.nonspacingMark, .spacingMark, .enclosingMark])
  static let punctuation = categories([
    .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
    .initialPunctuation, .finalPunctuation, .otherPunctuation,
  ])
  static let symbols = categories([.mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol])

  /// `\s`: the property White_Space.
  static let whitespace = ScalarSet([
    0x09...0x0D, 0x20...0x20, 0x85...0x85, 0xA0...0xA0, 0x1680...0x1680, 0x2000...0x200A,
    0x2028...0x2029, 0x202F...0x202F, 0x205F...0x205F, 0x3000...0x3000,
  ])

  /// What the `\w` of Rust's regex has, by which added tokens are kept apart from words.
  static let wordCharacters = letters.union(marks).union(digits)
    .union(categories([.connectorPunctuation, .letterNumber]))
    .union(ScalarSet([0x200C...0x200D, 0x24B6...0x24E9, 0x1F130...0x1F149]))
    .union(ScalarSet([0x1F150...0x1F169, 0x1F170...0x1F189]))

  /// Script=Han; Swift does not tell a scalar's script.
  static let han = ScalarSet([
    0x2E80...0x2E99, 0x2E9B...0x2EF3, 0x2F00...0x2FD5, 0x3005...0x3005, 0x3007...0x3007,
    0x3021...0x3029, 0x3038...0x303B, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFA6D,
    0xFA70...0xFAD9, 0x16FE2...0x16FE3, 0x16FF0...0x16FF1, 0x20000...0x2A6DF,
    0x2A700...0x2B739, 0x2B740...0x2B81D, 0x2B820...0x2CEA1, 0x2CEB0...0x2EBE0,
    0x2EBF0...0x2EE5D, 0x2F800...0x2FA1D, 0x30000...0x3134A, 0x31350...0x323AF,
  ])

  /// All scalars of these categories. Private use, surrogates and unassigned are not told apart.
  private static func categories(_ wanted: Set<Unicode.GeneralCategory>) -> ScalarSet {
    ScalarSet(categoryRuns.filter { wanted.contains($0.category) }.map(\.range))
  }

  /// Assigned scalars outside the private use areas lie in planes 0 to 3 and at the start of 14.
  private static let assigned: [ClosedRange<UInt32>] = [0...0x3FFFF, 0xE0000...0xE0FFF]

  /// The ranges of equal category, in ascending order.
  private static let categoryRuns:
    [(range: ClosedRange<UInt32>, category: Unicode.GeneralCategory)] = {
      var runs: [(range: ClosedRange<UInt32>, category: Unicode.GeneralCategory)] = []
      for value in assigned.joined() {
        guard let scalar = Unicode.Scalar(value), let category = category(scalar) else { continue }
        if let previous = runs.last, previous.category == category,
          previous.range.upperBound + 1 == value
        {
          runs[runs.count - 1].range = previous.range.lowerBound...value
        } else {
          runs.append((value...value, category))
        }
      }
      return runs
    }()

  private static func category(_ scalar: Unicode.Scalar) -> Unicode.GeneralCategory? {
    // Unicode 17 moved it from Ll to Lo: the only letter whose category changed.
    if scalar == "\u{295}" { return .lowercaseLetter }
    let category = scalar.properties.generalCategory
    guard category != .unassigned, let age = scalar.properties.age, age.major <= unicodeVersion
    else { return nil }
    return category
  }
}
