// SPDX-License-Identifier: Apache-2.0

/// How the bytes of the files that are read come into memory.
///
///     try FileAccess.$current.withValue(.read) { try Validation.run(request) }
public enum FileAccess: String, Sendable, CaseIterable {
  /// Mapped: the kernel reads ahead, and keeps what several passes need.
  case map
  /// Plain reads, for network file systems on which mappings are slow or fail.
  case read

  /// Of files that are opened from now on in this task.
  @TaskLocal public static var current = FileAccess.map

  /// The most bytes that one plain read is asked for; some file systems give fewer than asked.
  @TaskLocal package static var largestRead = 1 << 30
}
