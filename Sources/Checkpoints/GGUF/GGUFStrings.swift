// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// An array of GGUF strings in its stored form: vocabularies have 150,000 entries and more, and
/// most readers want few of them, so text is decoded only where it is asked for.
package struct GGUFStrings: Sendable, Hashable {
  /// Each string as in the file: its length as u64, then its bytes.
  let encoded: [UInt8]
  /// Where the bytes of each string start in `encoded`.
  private let starts: [Int]

  init(encoded: [UInt8], starts: [Int]) {
    self.encoded = encoded
    self.starts = starts
  }

  /// The given strings, encoded as UTF-8.
  package init(_ strings: some Sequence<String>) {
    var encoded: [UInt8] = []
    var starts: [Int] = []
    for string in strings {
      GGUFValue.append(UInt64(string.utf8.count), to: &encoded)
      starts.append(encoded.count)
      encoded.append(contentsOf: string.utf8)
    }
    self.init(encoded: encoded, starts: starts)
  }

  /// The stored bytes of one string, which need not be valid UTF-8.
  package func bytes(at index: Int) -> ArraySlice<UInt8> {
    let end = index + 1 < starts.count ? starts[index + 1] - lengthBytes : encoded.count
    return encoded[starts[index]..<end]
  }
}

/// Size of the u64 length that precedes every string.
private let lengthBytes = 8

extension GGUFStrings: RandomAccessCollection {
  /// 0.
  package var startIndex: Int { 0 }
  /// The number of strings.
  package var endIndex: Int { starts.count }
  /// One string; bytes that are not UTF-8 appear as replacement characters.
  package subscript(index: Int) -> String { String(decoding: bytes(at: index), as: UTF8.self) }
}
