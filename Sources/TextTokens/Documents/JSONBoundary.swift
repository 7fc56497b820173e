// SPDX-License-Identifier: Apache-2.0

/// Finds where a JSON value ends, from what it is nested in; whether it is sound is not checked.
struct JSONBoundary {
  private var depth = 0
  private var inString = false
  private var escaped = false
  private var begun = false

  /// The index after the value's last byte, where `bytes` from `start` on hold it. Calls go on
  /// where the one before ended.
  mutating func end(in bytes: [UInt8], from start: Int) -> Int? {
    for index in start..<bytes.count {
      let byte = bytes[index]
      if inString {
        inString = escaped || byte != UInt8(ascii: "\"")
        escaped = !escaped && byte == UInt8(ascii: "\\")
        if !inString, depth == 0 { return index + 1 }
        continue
      }
      switch byte {
      case UInt8(ascii: "\""): inString = true
      case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        // The bracket of what is around a number or a word.
        if depth == 0 { return begun ? index : index + 1 }
        depth -= 1
        if depth == 0 { return index + 1 }
      case UInt8(ascii: ","), 0x20, 0x09, 0x0A, 0x0D:
        if depth == 0, begun { return index }
      default: break
      }
      begun = true
    }
    return nil
  }
}
