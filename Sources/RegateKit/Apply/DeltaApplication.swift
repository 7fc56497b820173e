// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
public import Checkpoints
import OrderedCollections
import Reports

/// Makes the output of a conversion from a delta and the checkpoint that it was made of.
public struct DeltaApplication: Report {
  /// What is asked for.
  public struct Request: Sendable {
    /// Path of a delta that a conversion or a placement wrote.
    public var delta: String
    /// The checkpoint that the delta was made of: a directory, or a .safetensors or .gguf file.
    public var checkpoint: String
    /// Path of the directory or file to write.
    public var output: String
    /// Replace an output of Regate.
    public var overwrite: Bool
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(
      delta: String, checkpoint: String, output: String, overwrite: Bool = false,
      threads: Int = Threads.all
    ) {
      self.delta = delta
      self.checkpoint = checkpoint
      self.output = output
      self.overwrite = overwrite
      self.threads = threads
    }
  }

  /// What was written.
  public let output: String
  /// Names of the files that were written.
  public let files: [String]
  /// Their bytes in all.
  public let byteCount: Int

  /// Checks that the original is the one that the delta was made of, writes the output and checks
  /// it, and gives it its name.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> DeltaApplication {
    try DeltaApplier(request, progress: progress).run()
  }

  public var text: String {
    "Wrote \(files.count) files, \(Format.bytes(byteCount)), to \(output); SHA-256 of each as the "
      + "delta says."
  }

  public var json: JSONValue {
    [
      "output": .string(output), "files": .array(files.map { .string($0) }),
      "bytes": .integer(byteCount),
    ]
  }
}
