// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// Which layers are MoE.
package enum Sparsity: Sendable {
  case all
  /// n >= key.
  case afterLeadingDense(Key<Int>)
  /// n not in `mlp_only_layers` and (n + 1) divisible by `decoder_sparse_step`.
  case stepped(step: Key<Int>, dense: String)
  /// Those that a list of words calls `word`; where there is none, what `otherwise` says.
  indirect case named(String, word: String = "sparse", otherwise: Sparsity)
  /// Those that a list of numbers holds, or a string with commas; where there is none, what
  /// `otherwise` says.
  indirect case listed(String, otherwise: Sparsity)
  /// Those that a list has a number other than 0 for; where there is none, what `otherwise` says.
  indirect case flagged(String, otherwise: Sparsity)
  /// (n + 1) divisible by `interval`, start <= n <= end; end -1 is the last layer.
  case interval(Key<Int>, start: Key<Int>, end: Key<Int>?)
  /// Those that a block of letters calls `letter`, or a list of words `word`: one for each layer,
  /// and there are as many layers.
  case blocks(String, word: String, letters: String, letter: Character)
  /// Those of which a router or experts are stored: llama.cpp asks for no more.
  case stored

  /// n >= `count`, whatever the file says.
  static func after(_ count: Int) -> Sparsity {
    .afterLeadingDense(Key([], default: count))
  }
}

extension Sparsity {
  /// The MoE layers among `count`; `isStored` tells whether a layer has a router or experts.
  func layers(
    count: Int, settings: inout Settings, isStored: (Int) -> Bool
  ) throws(RegateError) -> [Int] {
    let all = 0..<count
    switch self {
    case .all: return Array(all)
    case .stored: return all.filter(isStored)
    case .afterLeadingDense(let key):
      let dense = try settings.required(key)
      return all.filter { $0 >= dense }
    case .stepped(let step, let dense):
      let step = try settings.required(step, minimum: 1)
      let listed = Set(try settings.layers(dense))
      return all.filter { !listed.contains($0) && ($0 + 1) % step == 0 }
    case .interval(let interval, let start, let end):
      let interval = try settings.required(interval, minimum: 1)
      let start = try settings.required(start)
      let end = try end.map { key throws(RegateError) in try settings.integer(key, minimum: -1) }
      let last = end.flatMap { $0 }.flatMap { $0 < 0 ? nil : $0 } ?? count - 1
      return all.filter { ($0 + 1) % interval == 0 && $0 >= start && $0 <= last }
    case .named(let key, let word, let otherwise):
      guard let types = settings.strings(key) else {
        return try otherwise.layers(count: count, settings: &settings, isStored: isStored)
      }
      return try Self.places(of: word, in: types, key, count, settings)
    case .flagged(let key, let otherwise):
      guard let flags = settings.integers(key) else {
        return try otherwise.layers(count: count, settings: &settings, isStored: isStored)
      }
      return try Self.places(flags.map { $0 != 0 }, key, count, settings)
    case .listed(let key, let otherwise):
      guard let listed = try settings.numbers(listedIn: key) else {
        return try otherwise.layers(count: count, settings: &settings, isStored: isStored)
      }
      return all.filter(Set(listed).contains)
    case .blocks(let key, let word, let letters, let letter):
      if let types = settings.strings(key) {
        return try Self.places(of: word, in: types, key, count, settings)
      }
      let pattern = try settings.string(Key(letters, default: nil)) ?? ""
      return try Self.places(pattern.map { $0 == letter }, letters, count, settings)
    }
  }

  private static func places(
    of word: String, in types: [String], _ key: String, _ count: Int, _ settings: Settings
  ) throws(RegateError) -> [Int] {
    try places(types.map { $0 == word }, key, count, settings)
  }

  /// The layers whose flag is set. Lists may go on for layers of multi-token prediction.
  private static func places(
    _ flags: [Bool], _ key: String, _ count: Int, _ settings: Settings
  ) throws(RegateError) -> [Int] {
    guard flags.count >= count else {
      throw settings.mismatch(key, "has \(flags.count) entries for \(count) layers")
    }
    return (0..<count).filter { flags[$0] }
  }

  /// The number of layers, of a file whose layers are blocks of one kind each; nil where another
  /// key says it.
  func layerCount(_ settings: inout Settings) throws(RegateError) -> Int? {
    guard case .blocks(let key, _, let letters, _) = self else { return nil }
    if let types = settings.strings(key) { return types.count }
    let letterKey = Key<String>(letters, default: nil)
    guard let pattern = try settings.string(letterKey) else { throw settings.missing(letterKey) }
    return pattern.count
  }
}
