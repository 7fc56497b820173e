// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Tensors

/// A file of an output that is begun: it has its size and its head, so that it can be opened. It is
/// not kept open itself, of which there may be hundreds.
package struct StartedFile: Sendable {
  package let file: OutputFile
  package let path: String
  /// How it comes to its bytes. Linked and shared ones have them all from the start.
  package let method: OutputMethod
  /// How many of its bytes stand.
  private let standing: Int

  /// Begins `file` at `path`. With `linking`, a file that does not differ from the original's
  /// becomes a hard link to it.
  package init(_ file: OutputFile, at path: String, linking: Bool) throws(RegateError) {
    self.file = file
    self.path = path
    if linking, let whole = file.whole, HardLink.make(path, to: whole.path) {
      method = .linked
      standing = file.byteCount
      return
    }
    var writer = try FileWriter(creating: path)
    if let near = file.near, writer.clone(near) {
      try file.overwrite(differencesFrom: near, with: writer)
      method = .shared
      standing = file.byteCount
    } else {
      var cursor = SegmentCursor()
      try cursor.write(file, upTo: file.head ?? 0, &writer)
      try writer.extend(to: file.byteCount)
      method = .copied
      standing = file.head ?? 0
    }
  }

  /// Large enough to cost nothing, small enough for what was written to be in memory still when it
  /// is checked.
  private static let step = 32 << 20

  /// Writes the rest and follows it with `check`, which at two threads looks at one step while the
  /// next is written; SHA-256 of the whole. Nil where it is not wanted any more.
  func fill(
    _ check: FileCheck, threads: Int, progress: any ProgressSink,
    until stopped: @Sendable () -> Bool
  ) throws(RegateError) -> String? {
    let rest = try Rest(self)
    var end = standing
    while end < file.byteCount {
      if stopped() { return nil }
      let (written, next) = (end, min(end + Self.step, file.byteCount))
      try together(threads) { () throws(RegateError) in
        try rest.write(upTo: next)
      } _: { () throws(RegateError) in
        try check.advance(to: written, progress: progress)
      }
      end = next
    }
    try check.advance(to: end, progress: progress)
    return check.sha256
  }

  /// Forces everything to the disk.
  func sync() throws(RegateError) {
    guard method != .linked else { return }
    try FileWriter(overwriting: path, from: file.byteCount).sync()
  }

  /// What is written behind the bytes that stand from the start.
  private final class Rest: Sendable {
    private struct State: ~Copyable {
      var writer: FileWriter
      var cursor: SegmentCursor
    }

    private let file: OutputFile
    private let state: Locked<State>?

    init(_ started: StartedFile) throws(RegateError) {
      file = started.file
      guard started.standing < file.byteCount else {
        state = nil
        return
      }
      state = Locked(
        State(
          writer: try FileWriter(overwriting: started.path, from: started.standing),
          cursor: SegmentCursor(file, at: started.standing)))
    }

    func write(upTo end: Int) throws(RegateError) {
      try state?.withLock { (state) throws(RegateError) in
        try state.cursor.write(file, upTo: end, &state.writer)
      }
    }
  }
}

/// A place among the segments of a file.
private struct SegmentCursor {
  private var segment = 0
  /// How much of it lies behind.
  private var done = 0

  init() {}

  /// `offset` bytes from the beginning of `file`.
  init(_ file: OutputFile, at offset: Int) {
    done = offset
    while segment < file.segments.count, done >= file.segments[segment].count {
      done -= file.segments[segment].count
      segment += 1
    }
  }

  /// Writes on until `writer` stands at `end`.
  mutating func write(
    _ file: OutputFile, upTo end: Int, _ writer: inout FileWriter
  ) throws(RegateError) {
    while writer.offset < end {
      let next = file.segments[segment]
      let count = min(next.count - done, end - writer.offset)
      try next.part(done, count).write(into: &writer)
      done += count
      if done == next.count {
        segment += 1
        done = 0
      }
    }
  }
}

/// Does both, at the same time where there are two threads.
private func together(
  _ threads: Int, _ first: @Sendable () throws(RegateError) -> Void,
  _ second: @Sendable () throws(RegateError) -> Void
) throws(RegateError) {
  let results = mapBlocks(count: 2, blockSize: 1, threads: threads) { index, _ in
    Result { () throws(RegateError) in try index == 0 ? first() : second() }
  }
  for result in results { try result.get() }
}
