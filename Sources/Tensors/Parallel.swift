// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Dispatch
import Synchronization

/// Runs `body` on every fixed-size block of `0..<count`, on at most `threads` threads.
///
/// Blocks depend on `count` and `blockSize` only, never on the number of threads: results that are
/// combined in block order are the same for every thread count. `body` must be safe to run
/// concurrently for different blocks.
package func forEachBlock(
  count: Int, blockSize: Int, threads: Int,
  _ body: @Sendable (_ block: Int, _ range: Range<Int>) -> Void
) {
  precondition(count >= 0 && blockSize > 0 && threads > 0)
  let blocks = (count + blockSize - 1) / blockSize
  @Sendable func run(_ block: Int) {
    let start = block * blockSize
    body(block, start..<min(start + blockSize, count))
  }
  guard threads > 1, blocks > 1 else {
    for block in 0..<blocks { run(block) }
    return
  }
  let next = Atomic(0)
  DispatchQueue.concurrentPerform(iterations: min(threads, blocks)) { _ in
    while true {
      let block = next.wrappingAdd(1, ordering: .relaxed).oldValue
      guard block < blocks else { return }
      run(block)
    }
  }
}

/// The results of `body` on every fixed-size block of `0..<count`, in block order.
package func mapBlocks<R: Sendable>(
  count: Int, blockSize: Int, threads: Int,
  _ body: @Sendable (_ block: Int, _ range: Range<Int>) -> R
) -> [R] {
  let blocks = (count + blockSize - 1) / blockSize
  let results = Locked([R?](repeating: nil, count: blocks))
  forEachBlock(count: count, blockSize: blockSize, threads: threads) { block, range in
    let result = body(block, range)
    results.withLock { $0[block] = result }
  }
  return results.withLock { $0.compactMap { $0 } }
}
