// SPDX-License-Identifier: Apache-2.0

/// Merges the symbols of a long piece in n log n steps: a linked list of symbols, and a heap of
/// the pairs that merge, lowest rank and then leftmost first.
struct MergeChain {
  private struct Candidate {
    /// rank << 32 | position of the left symbol.
    var key: UInt64
    var merged: UInt32
  }

  private var next: [Int32] = []
  private var previous: [Int32] = []
  private var heap: [Candidate] = []

  mutating func merge(_ symbols: inout [UInt32], by table: MergeTable) {
    let count = symbols.count
    precondition(count < Int32.max, "a piece of more than 2^31 symbols")
    next = (0..<Int32(count)).map { $0 + 1 }
    next[count - 1] = -1
    previous = (0..<Int32(count)).map { $0 - 1 }
    heap.removeAll(keepingCapacity: true)
    for index in 0..<count - 1 { consider(Int32(index), symbols, table) }
    while let top = pop() {
      let position = Int(UInt32(truncatingIfNeeded: top.key))
      // A symbol that was merged into its left neighbour is marked by its own index.
      guard next[position] != Int32(position), next[position] >= 0 else { continue }
      let right = Int(next[position])
      // The pair may have changed since it was noted.
      let merge = table.merge(symbols[position], symbols[right])
      guard merge != MergeTable.none, UInt32(truncatingIfNeeded: merge) == top.merged else {
        continue
      }
      symbols[position] = top.merged
      next[position] = next[right]
      if next[right] >= 0 { previous[Int(next[right])] = Int32(position) }
      next[right] = Int32(right)
      if previous[position] >= 0 { consider(previous[position], symbols, table) }
      consider(Int32(position), symbols, table)
    }
    var kept = 0
    var index = 0
    while index >= 0 {
      symbols[kept] = symbols[index]
      kept += 1
      index = Int(next[index])
    }
    symbols.removeSubrange(kept...)
  }

  private mutating func consider(_ left: Int32, _ symbols: [UInt32], _ table: MergeTable) {
    let right = next[Int(left)]
    guard right >= 0 else { return }
    let merge = table.merge(symbols[Int(left)], symbols[Int(right)])
    guard merge != MergeTable.none else { return }
    let key = (merge & 0xFFFF_FFFF_0000_0000) | UInt64(UInt32(left))
    push(Candidate(key: key, merged: UInt32(truncatingIfNeeded: merge)))
  }

  private mutating func push(_ candidate: Candidate) {
    heap.append(candidate)
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard candidate.key < heap[parent].key else { break }
      heap[child] = heap[parent]
      child = parent
    }
    heap[child] = candidate
  }

  private mutating func pop() -> Candidate? {
    guard let top = heap.first else { return nil }
    let last = heap.removeLast()
    if heap.isEmpty { return top }
    var parent = 0
    while true {
      var child = parent * 2 + 1
      guard child < heap.count else { break }
      if child + 1 < heap.count, heap[child + 1].key < heap[child].key { child += 1 }
      guard heap[child].key < last.key else { break }
      heap[parent] = heap[child]
      parent = child
    }
    heap[parent] = last
    return top
  }
}
