// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
public import Checkpoints
import OrderedCollections
import Reports

/// Takes back a change in place: every file gets the bytes that it had before.
public struct Reversion: Report {
  /// What is asked for.
  public struct Request: Sendable {
    /// A directory, or its (first) file.
    public var checkpoint: String
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(checkpoint: String, threads: Int = Threads.all) {
      self.checkpoint = checkpoint
      self.threads = threads
    }
  }

  /// What was restored.
  public let checkpoint: String
  /// Names of the files that were restored.
  public let files: [String]
  /// Bytes that were written.
  public let byteCount: Int

  /// Checks that the undo delta leads back to the original, writes, and checks again. A run that
  /// was interrupted is simply run again.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> Reversion {
    try Reverter(request.checkpoint, threads: request.threads, progress: progress).run()
  }

  public var text: String {
    "Restored \(files.joined(separator: ", ")): \(Format.bytes(byteCount)) written, SHA-256 equal "
      + "to the original's."
  }

  public var json: JSONValue {
    [
      "checkpoint": .string(checkpoint), "files": .array(files.map { .string($0) }),
      "bytes": .integer(byteCount),
    ]
  }
}
