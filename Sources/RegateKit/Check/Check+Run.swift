// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Forms
public import Runtimes

extension Check {
  /// What a check is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// Those that are asked about.
    public var runtimes: [Runtime]

    public init(checkpoint: String, runtimes: [Runtime] = Runtime.allCases) {
      self.checkpoint = checkpoint
      self.runtimes = runtimes
    }
  }

  /// Reads headers only, so that there is nothing to show progress of; `progress` can stop it.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> Check {
    try progress.requireWanted()
    return Check(CheckSubject(try Model.open(request.checkpoint)), runtimes: request.runtimes)
  }
}
