// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Tensors
import Testing

@Suite("Fixed blocks") struct ParallelTests {
  @Test(arguments: [(0, 4), (1, 4), (4, 4), (5, 4), (1000, 7)], [1, 2, 3, 16])
  func `every index is visited once, in blocks that do not depend on threads`(
    shape: (count: Int, blockSize: Int), threads: Int
  ) {
    let seen = Locked([(Int, Range<Int>)]())
    forEachBlock(count: shape.count, blockSize: shape.blockSize, threads: threads) { block, range in
      seen.withLock { $0.append((block, range)) }
    }
    let visits = seen.withLock { $0 }.sorted { $0.0 < $1.0 }
    #expect(visits.flatMap { Array($0.1) } == Array(0..<shape.count))
    #expect(visits.allSatisfy { $0.1.lowerBound == $0.0 * shape.blockSize && !$0.1.isEmpty })
  }

  @Test(arguments: [1, 2, 3])
  func `results come in block order`(threads: Int) {
    let sums = mapBlocks(count: 100, blockSize: 9, threads: threads) { block, range in
      "\(block):\(range.reduce(0, +))"
    }
    let naive = stride(from: 0, to: 100, by: 9).map { start in
      "\(start / 9):\((start..<min(start + 9, 100)).reduce(0, +))"
    }
    #expect(sums == naive)
  }
}
