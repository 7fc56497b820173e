// SPDX-License-Identifier: Apache-2.0

// Unicode normalization (UAX #15) with the tables of Unicode 9, as Hugging Face tokenizers 0.23
// have them: combining marks that came later are not reordered. (Foundation's normalization does
// not serve: on Linux it loses U+0340, U+0341, U+0343 and U+0344.)
//
// 1. Characters that are in the form already and take no part in it are copied.
// 2. What lies between is decomposed, and its marks are sorted by combining class.
// 3. NFC: a mark or letter joins the last starter before it, unless something between blocks it.

/// A canonical normalization form.
enum NormalizationForm: String, Sendable {
  case nfc = "NFC"
  case nfd = "NFD"

  func apply(_ text: [UInt8]) -> [UInt8] {
    let data = NormalizationData.shared
    let bit: UInt64 = self == .nfc ? 1 : 2
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var copied = 0
    var index = 0
    var previous = 0
    while index < text.count {
      let (mask, length) = data.stable.scalar(in: text, at: index)
      if mask & bit != 0 {
        previous = index
        index += length
        continue
      }
      // What is not stable may join the character before it.
      result += text[copied..<previous]
      index += length
      while index < text.count {
        let (mask, length) = data.stable.scalar(in: text, at: index)
        if mask & bit != 0 { break }
        index += length
      }
      let scalars = String(decoding: text[previous..<index], as: UTF8.self).unicodeScalars
      var parts = data.decompose(scalars.map(\.value))
      if self == .nfc { parts = data.compose(parts) }
      for part in parts { result += String(Unicode.Scalar(part) ?? "\u{FFFD}").utf8 }
      (copied, previous) = (index, index)
    }
    result += text[copied...]
    return result
  }
}

/// Decompositions, compositions and combining classes.
struct NormalizationData: Sendable {
  static let shared = NormalizationData()

  private static let unicodeVersion = 9
  private static let hangul: ClosedRange<UInt32> = 0xAC00...0xD7A3
  private static let hangulL: UInt32 = 0x1100
  private static let hangulV: UInt32 = 0x1161
  /// One before the first trailing consonant.
  private static let hangulT: UInt32 = 0x11A7

  private var decompositions: [UInt32: [UInt32]] = [:]
  private var compositions: [UInt64: UInt32] = [:]
  private var classes: [UInt32: UInt8] = [:]
  /// Bit 0: unchanged by NFC and joined to nothing before it. Bit 1: the same for NFD.
  let stable: ClassTable

  private init() {
    let composed = NormalizationData.read(NormalizationTable.composed)
    let decomposed = NormalizationData.read(NormalizationTable.decomposed)
    var unstable = ScalarSet([0x1161...0x1175, 0x11A8...0x11C2]).ranges
    var seconds: Set<UInt32> = []
    for (scalar, parts) in composed {
      decompositions[scalar] = parts
      compositions[UInt64(parts[0]) << 32 | UInt64(parts[1])] = scalar
      seconds.insert(parts[1])
    }
    for (scalar, parts) in decomposed {
      decompositions[scalar] = parts
      unstable.append(scalar...scalar)
    }
    for value in [UInt32(0)...0x1FFFF, 0xE0000...0xE0FFF].joined() {
      guard let properties = Unicode.Scalar(value)?.properties else { continue }
      let order = properties.canonicalCombiningClass.rawValue
      guard order != 0, let age = properties.age, age.major <= NormalizationData.unicodeVersion
      else { continue }
      classes[value] = order
      unstable.append(value...value)
    }
    unstable += seconds.map { $0...$0 }
    let decomposable = decompositions.keys.map { $0...$0 } + [NormalizationData.hangul]
    stable = ClassTable([
      ScalarSet(unstable).inverted, ScalarSet(unstable + decomposable).inverted,
    ])
  }

  private static func read(_ table: String) -> [(scalar: UInt32, parts: [UInt32])] {
    var found: [(scalar: UInt32, parts: [UInt32])] = []
    var next: UInt32 = 0
    for word in table.split(whereSeparator: \.isWhitespace) {
      if word.last == ":" {
        next = UInt32(word.dropLast(), radix: 16) ?? 0
      } else {
        found.append((next, word.split(separator: "+").compactMap { UInt32($0, radix: 16) }))
        next += 1
      }
    }
    return found
  }

  /// The full decomposition, in canonical order.
  func decompose(_ scalars: [UInt32]) -> [UInt32] {
    var parts: [UInt32] = []
    for scalar in scalars { append(scalar, to: &parts) }
    var start = 0
    while start < parts.count {
      var end = start
      while end < parts.count, classes[parts[end]] != nil { end += 1 }
      if end - start > 1 {
        // Equal classes keep their order.
        let order = (start..<end).sorted {
          (classes[parts[$0]] ?? 0, $0) < (classes[parts[$1]] ?? 0, $1)
        }
        parts.replaceSubrange(start..<end, with: order.map { parts[$0] })
      }
      start = max(end, start + 1)
    }
    return parts
  }

  private func append(_ scalar: UInt32, to parts: inout [UInt32]) {
    if NormalizationData.hangul.contains(scalar) {
      let index = scalar - NormalizationData.hangul.lowerBound
      parts.append(NormalizationData.hangulL + index / 588)
      parts.append(NormalizationData.hangulV + index % 588 / 28)
      if index % 28 > 0 { parts.append(NormalizationData.hangulT + index % 28) }
    } else if let found = decompositions[scalar] {
      for part in found { append(part, to: &parts) }
    } else {
      parts.append(scalar)
    }
  }

  /// Composes what is in canonical order.
  func compose(_ parts: [UInt32]) -> [UInt32] {
    var result: [UInt32] = []
    var starter: Int?
    var lastClass: UInt8 = 0
    for part in parts {
      let order = classes[part] ?? 0
      // What has a class not below this one's lies between and blocks; so does any starter.
      let adjacent = starter.map { $0 + 1 == result.count } ?? false
      if let starter, adjacent || (lastClass != 0 && lastClass < order),
        let joined = compose(result[starter], part)
      {
        result[starter] = joined
        continue
      }
      if order == 0 { starter = result.count }
      lastClass = order
      result.append(part)
    }
    return result
  }

  private func compose(_ first: UInt32, _ second: UInt32) -> UInt32? {
    typealias Data = NormalizationData
    if (Data.hangulL..<Data.hangulL + 19).contains(first),
      (Data.hangulV..<Data.hangulV + 21).contains(second)
    {
      return Data.hangul.lowerBound + (first - Data.hangulL) * 588 + (second - Data.hangulV) * 28
    }
    if Data.hangul.contains(first), (first - Data.hangul.lowerBound) % 28 == 0,
      (Data.hangulT + 1...Data.hangulT + 27).contains(second)
    {
      return first + second - Data.hangulT
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }
}
