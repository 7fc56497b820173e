// SPDX-License-Identifier: Apache-2.0

// Byte-pair encoding (Sennrich et al., arXiv 1508.07909): a piece of text is cut into units, then
// the neighbouring pair of lowest rank, the leftmost of equal ones, is replaced by its merged
// symbol until no pair is left that merges.
//
// 1. Units are bytes (byte-level vocabularies) or characters (SentencePiece-like ones).
// 2. Ranks come from a list of merges, or from the vocabulary itself: tiktoken merges what gives
//    the token of lowest rank, SentencePiece what gives the token of highest score. Both become a
//    table of all pairs whose concatenation is a token.
// 3. A unit without a token is spelled by byte tokens <0x00>...<0xFF> where there are all that it
//    needs, else it is the unknown token, else it is dropped: at once, so that its neighbours may
//    merge (tokenizers), or at the end (llama.cpp).

/// A vocabulary with its merges.
struct BytePairModel: Sendable {
  enum Unit: Sendable { case bytes, characters }
  /// Pieces that are taken as the token that they are, whatever the merges would make of them.
  enum WholePieces: Sendable {
    case none
    /// Runs of line feeds.
    case newlines
    case all
  }

  let unit: Unit
  let tokens: TokenTable
  let merges: MergeTable
  let wholePieces: WholePieces
  /// The tokens <0x00>...<0xFF>, or none.
  let byteTokens: [UInt32?]
  let unknown: UInt32?
  /// Neighbouring unknown units become one unknown token.
  let fusesUnknown: Bool
  /// What takes part in merges without being a token, with the tokens that it ends as.
  let bareSymbols: [BareSymbol]
  /// Symbols from here on are those.
  let firstBareSymbol: UInt32
  /// Units that are dropped keep their neighbours apart.
  let dropsAtEnd: Bool
  /// No merge goes from another character into a "▁": text can be cut before each run of them.
  let cutsAtMarker: Bool

  struct BareSymbol: Sendable {
    let content: [UInt8]
    let tokens: [UInt32]
  }

  /// "▁", by which SentencePiece spells a space.
  static let marker: [UInt8] = [0xE2, 0x96, 0x81]
}

/// Encodes pieces. Its work space is reused.
struct BytePairEncoder {
  let model: BytePairModel
  private var symbols: [UInt32] = []
  private var merges: [MergeTable.Merge] = []
  private var chain = MergeChain()
  private var cache: PieceCache
  private var bareSymbols = TokenTable(capacity: 16)
  /// The tokens of units of one byte.
  private let shortTokens: [UInt32?]
  /// Stands where a unit is dropped at the end.
  private let gap: UInt32

  /// Shorter pieces are merged by scanning, longer ones with a heap.
  private static let scanLimit = 48

  init(_ model: BytePairModel, cacheSlots: Int) {
    self.model = model
    cache = PieceCache(slots: cacheSlots)
    gap = model.firstBareSymbol + UInt32(model.bareSymbols.count)
    shortTokens = (UInt8.min...UInt8.max).map { model.tokens.id(of: [$0]) }
    for (index, symbol) in model.bareSymbols.enumerated() {
      _ = bareSymbols.insert(symbol.content, id: model.firstBareSymbol + UInt32(index))
    }
  }

  /// Appends the tokens of one piece of `text` to `ids`.
  mutating func encode(_ text: [UInt8], _ range: Range<Int>, into ids: inout [Int]) {
    guard model.cutsAtMarker else { return encodePiece(text, range, into: &ids) }
    var start = range.lowerBound
    while start < range.upperBound {
      let end = nextCut(text, start, range.upperBound)
      encodePiece(text, start..<end, into: &ids)
      start = end
    }
  }

  /// The end of the markers at `start` and of what follows up to the next marker.
  private func nextCut(_ text: [UInt8], _ start: Int, _ end: Int) -> Int {
    var index = start
    while isMarker(text, index, end) { index += 3 }
    while index < end, !isMarker(text, index, end) { index += 1 }
    return index
  }

  @inline(__always)
  private func isMarker(_ text: [UInt8], _ index: Int, _ end: Int) -> Bool {
    index + 3 <= end && text[index] == 0xE2 && text[index + 1] == 0x96 && text[index + 2] == 0x81
  }

  private mutating func encodePiece(_ text: [UInt8], _ range: Range<Int>, into ids: inout [Int]) {
    guard range.count <= PieceCache.pieceLimit else {
      merge(text, range)
      return emit(into: &ids)
    }
    let hash = TokenTable.hash(text[range])
    if cache.append(text, range, hash: hash, to: &ids) { return }
    let before = ids.count
    merge(text, range)
    emit(into: &ids)
    cache.store(text, range, hash: hash, ids: ids[before...])
  }

  /// Leaves the merged symbols of the piece in `symbols`.
  private mutating func merge(_ text: [UInt8], _ range: Range<Int>) {
    symbols.removeAll(keepingCapacity: true)
    if takesWhole(text[range]), let whole = model.tokens.id(of: text[range]) {
      symbols.append(whole)
      return
    }
    appendUnits(text, range)
    if symbols.count <= BytePairEncoder.scanLimit {
      mergeByScanning()
    } else {
      chain.merge(&symbols, by: model.merges)
    }
  }

  private func takesWhole(_ piece: ArraySlice<UInt8>) -> Bool {
    switch model.wholePieces {
    case .none: false
    case .newlines: piece.allSatisfy { $0 == UInt8(ascii: "\n") }
    case .all: true
    }
  }

  private mutating func appendUnits(_ text: [UInt8], _ range: Range<Int>) {
    var pending: UInt32?
    var index = range.lowerBound
    while index < range.upperBound {
      let lead = text[index]
      var length = 1
      if model.unit == .characters, lead >= 0x80 { length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4 }
      if length == 1, pending == nil, let id = shortTokens[Int(lead)] {
        symbols.append(id)
        index += 1
        continue
      }
      let unit = text[index..<min(index + length, range.upperBound)]
      index += length
      if let id = model.tokens.id(of: unit) ?? bareSymbols.id(of: unit) {
        if let unknown = pending { symbols.append(unknown) }
        pending = nil
        symbols.append(id)
      } else if !appendByteTokens(spelling(of: unit)) {
        if let unknown = model.unknown {
          if pending != nil, !model.fusesUnknown { symbols.append(unknown) }
          pending = unknown
        } else if model.dropsAtEnd {
          appendGap(spelling(of: unit))
        }
      }
    }
    if let unknown = pending { symbols.append(unknown) }
  }

  /// What byte tokens would have to spell: of a byte-level unit, the character in the alphabet.
  private func spelling(of unit: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    guard model.unit == .bytes, let byte = unit.first else { return unit }
    return ByteAlphabet.spelling(of: byte)[...]
  }

  private mutating func appendByteTokens(_ bytes: ArraySlice<UInt8>) -> Bool {
    guard !model.byteTokens.isEmpty else { return false }
    let before = symbols.count
    for byte in bytes {
      guard let id = model.byteTokens[Int(byte)] else {
        symbols.removeSubrange(before...)
        return false
      }
      symbols.append(id)
    }
    return true
  }

  /// What is left of a unit that is dropped at the end: the byte tokens that are there.
  private mutating func appendGap(_ bytes: ArraySlice<UInt8>) {
    if !model.byteTokens.isEmpty { symbols += bytes.compactMap { model.byteTokens[Int($0)] } }
    symbols.append(gap)
  }

  private mutating func mergeByScanning() {
    guard symbols.count > 1 else { return }
    merges.removeAll(keepingCapacity: true)
    for index in 1..<symbols.count {
      merges.append(model.merges.merge(symbols[index - 1], symbols[index]))
    }
    while true {
      var best = -1
      var rank = MergeTable.none >> 32
      for (index, merge) in merges.enumerated() where merge >> 32 < rank {
        (best, rank) = (index, merge >> 32)
      }
      guard best >= 0 else { return }
      symbols[best] = UInt32(truncatingIfNeeded: merges[best])
      symbols.remove(at: best + 1)
      merges.remove(at: best)
      if best > 0 { merges[best - 1] = model.merges.merge(symbols[best - 1], symbols[best]) }
      if best < merges.count {
        merges[best] = model.merges.merge(symbols[best], symbols[best + 1])
      }
    }
  }

  private mutating func emit(into ids: inout [Int]) {
    for symbol in symbols {
      if symbol < model.firstBareSymbol {
        ids.append(Int(symbol))
        continue
      }
      if symbol == gap { continue }
      let bare = model.bareSymbols[Int(symbol - model.firstBareSymbol)]
      for id in bare.tokens { ids.append(Int(id)) }
    }
  }
}
