// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

/// One member of a JSON object, read without building the others. Of equal keys the last counts, as
/// in Python.
struct JSONMember {
  enum Found {
    case missing
    case null
    case text(String, replacedSurrogates: Bool)
    /// Missing, in an object that holds the messages of a chat.
    case chat
    /// Of another kind than a string.
    case other(String)
    /// The value is no object but of this kind.
    case noObject(String)
  }

  private(set) var found = Found.missing
  private let name: String

  init(_ name: String) { self.name = name }

  mutating func read(_ bytes: [UInt8], file: String, origin: Int) throws(RegateError) {
    var reader = try JSONReader(bytes, file: file, origin: origin, dialect: .python)
    guard try reader.kind() == .object else {
      let value = try reader.readValue()
      try reader.finish()
      found = .noObject(value.kindName)
      return
    }
    var member = self
    try reader.readObject { (reader, key) throws(RegateError) in
      if key == member.name {
        member.found = try JSONMember.value(&reader)
      } else {
        if key == "messages", case .missing = member.found { member.found = .chat }
        try reader.skipValue()
      }
    }
    try reader.finish()
    self = member
  }

  private static func value(_ reader: inout JSONReader) throws(RegateError) -> Found {
    guard try reader.kind() == .string else {
      let value = try reader.readValue()
      return value.isNull ? .null : .other(value.kindName)
    }
    let before = reader.liberties.replacedSurrogates
    let text = try reader.readString()
    return .text(text, replacedSurrogates: reader.liberties.replacedSurrogates > before)
  }
}
