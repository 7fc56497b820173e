// SPDX-License-Identifier: Apache-2.0

/// Single files that are there whole or not at all.
package enum AtomicFile {
  /// Writes a file that takes the claimed name only when all of it is on the disk.
  ///
  /// It is built in a folder beside its place, synced and renamed; where `body` throws, nothing is
  /// left behind. `body` writes the file from its first byte to its last and may read it back from
  /// the writer's own path.
  package static func write(
    to claim: OutputClaim, _ body: (inout FileWriter) throws(RegateError) -> Void
  ) throws(RegateError) {
    let staged = try StagedOutput(files: [claim])
    do throws(RegateError) {
      var file = try FileWriter(creating: staged.path(claim.path.lastPathComponent))
      try body(&file)
      try file.sync()
    } catch {
      throw staged.located(error)
    }
    try staged.commit()
  }

  /// Writes `bytes` as a file that takes the claimed name only when all of it is on the disk.
  package static func write(_ bytes: [UInt8], to claim: OutputClaim) throws(RegateError) {
    try write(to: claim) { (file) throws(RegateError) in try file.write(bytes) }
  }
}
