// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation

/// Values that are costly to make and that many tests look at: each is made once in a test run.
public final class Shared<Value: Sendable>: Sendable {
  /// One value; whoever comes while it is made waits.
  private final class Entry: Sendable {
    let value = Locked<Value?>(nil)
  }

  private let entries = Locked<[String: Entry]>([:])

  public init() {}

  /// The value of `key`, made by `make` if it is not there yet.
  public func value(_ key: String, _ make: () throws -> Value) throws -> Value {
    let entry = entries.withLock { entries in
      let entry = entries[key] ?? Entry()
      entries[key] = entry
      return entry
    }
    return try entry.value.withLock { value in
      if let value { return value }
      let made = try make()
      value = made
      return made
    }
  }
}
