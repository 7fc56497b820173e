// SPDX-License-Identifier: Apache-2.0

/// Counts of work that must not be done twice, for tests that hold Regate to its word.
///
///     let log = WorkLog()
///     try WorkLog.$current.withValue(log) { try Conversion.run(request) }
///     #expect(log.count(of: .opening) == 1)
package final class WorkLog: Sendable {
  /// What is counted.
  package enum Event: Hashable, Sendable {
    /// A checkpoint's headers were read.
    case opening
    /// A file of text went through the tokenizer.
    case tokenisation
    /// A checkpoint's gates were read to be held against captures.
    case fingerprinting
    /// An expert of a layer was decoded: the costliest work there is.
    case expertDecoding(layer: Int, expert: Int)
  }

  /// The log of the task; nil where nobody counts.
  @TaskLocal package static var current: WorkLog?

  private let counts = Locked<[Event: Int]>([:])

  package init() {}

  package func note(_ event: Event) { counts.withLock { $0[event, default: 0] += 1 } }

  package func count(of event: Event) -> Int { counts.withLock { $0[event] ?? 0 } }

  /// How often each expert of `layer` was decoded, by expert; those that never were are absent.
  package func expertDecodings(layer: Int) -> [Int: Int] {
    counts.withLock { counts in
      var result: [Int: Int] = [:]
      for case (.expertDecoding(layer, let expert), let count) in counts { result[expert] = count }
      return result
    }
  }
}
