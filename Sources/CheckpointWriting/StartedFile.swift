// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Synchronization

/// A file of an output while it is written. From the start it has its size and its head, so that it
/// can be opened; the rest comes step by step.
package final class StartedFile: Sendable {
  package let file: OutputFile
  package let path: String
  /// How it comes to its bytes. Linked and shared ones have them all from the start.
  package let method: OutputMethod

  /// Large enough to cost nothing, small enough for what was written to be in memory still when it
  /// is checked.
  private static let step = 32 << 20

  private struct State: ~Copyable {
    var writer: FileWriter
    /// What is written next: a segment, and how much of it stands already.
    var segment = 0
    var done = 0
  }

  /// What is written still; nil for a link.
  private let rest: Rest?

  private final class Rest: Sendable {
    let state: Mutex<State>

    init(_ state: consuming sending State) { self.state = Mutex(state) }
  }

  /// Begins `file` at `path`. With `linking`, a file that does not differ from the original's
  /// becomes a hard link to it.
  package init(_ file: OutputFile, at path: String, linking: Bool) throws(RegateError) {
    self.file = file
    self.path = path
    if linking, let whole = file.whole, HardLink.make(path, to: whole.path) {
      method = .linked
      rest = nil
      return
    }
    var state = State(writer: try FileWriter(creating: path))
    if let near = file.near, state.writer.clone(near) {
      try file.overwrite(differencesFrom: near, with: state.writer)
      method = .shared
    } else {
      try StartedFile.write(file, upTo: file.head ?? 0, &state)
      try state.writer.extend(to: file.byteCount)
      method = .copied
    }
    rest = Rest(state)
  }

  /// Writes the next bytes; how many of the file's stand then.
  package func writeNext() throws(RegateError) -> Int {
    guard let rest else { return file.byteCount }
    return try rest.state.withLock { (state) throws(RegateError) in
      let end = min(state.writer.offset + StartedFile.step, file.byteCount)
      try StartedFile.write(file, upTo: end, &state)
      return state.writer.offset
    }
  }

  /// Forces everything to the disk.
  package func sync() throws(RegateError) {
    try rest?.state.withLock { (state) throws(RegateError) in try state.writer.sync() }
  }

  private static func write(
    _ file: OutputFile, upTo end: Int, _ state: inout State
  ) throws(RegateError) {
    while state.writer.offset < end {
      let segment = file.segments[state.segment]
      let count = min(segment.count - state.done, end - state.writer.offset)
      try segment.part(state.done, count).write(into: &state.writer)
      state.done += count
      if state.done == segment.count {
        state.segment += 1
        state.done = 0
      }
    }
  }
}
