// SPDX-License-Identifier: Apache-2.0
//
// The standard library's mutex waits in the kernel by itself, which the thread sanitizer does not
// see: it would report whatever a mutex guards. `tools/check.sh --sanitize` builds with
// REGATE_THREAD_SANITIZER, for a lock that the sanitizer knows.

#if REGATE_THREAD_SANITIZER
import Foundation

/// A value that one thread at a time sees.
// SAFETY: `value` is touched with the lock held alone.
@safe
package final class Locked<Value: ~Copyable>: @unchecked Sendable {
  private let lock = NSLock()
  private var value: Value

  package init(_ value: consuming sending Value) { self.value = value }

  package func withLock<Result, Failure: Error>(
    _ body: (inout sending Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    lock.lock()
    defer { lock.unlock() }
    return try body(&value)
  }
}
#else
import Synchronization

/// A value that one thread at a time sees.
package struct Locked<Value: ~Copyable>: ~Copyable, Sendable {
  private let mutex: Mutex<Value>

  package init(_ value: consuming sending Value) { mutex = Mutex(value) }

  package func withLock<Result, Failure: Error>(
    _ body: (inout sending Value) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    try mutex.withLock(body)
  }
}
#endif
