// SPDX-License-Identifier: Apache-2.0

/// Single files that are there whole or not at all.
package enum AtomicFile {
  /// Writes a file that takes the name `path` only when all of it is on the disk.
  ///
  /// It is built in a folder beside `path`, synced and renamed; where `body` throws, nothing is left
  /// behind. `body` writes the file from its first byte to its last and may read it back from the
  /// writer's own path. What stands at `path` already is refused unless `overwrite` says otherwise.
  package static func write(
    to path: String, overwrite: Bool, _ body: (inout FileWriter) throws(RegateError) -> Void
  ) throws(RegateError) {
    let name = path.lastPathComponent
    let staged = try StagedOutput(
      destination: path.directory, kind: .files([name]), overwrite: overwrite)
    do throws(RegateError) {
      var file = try FileWriter(creating: staged.path(name))
      try body(&file)
      try file.sync()
    } catch {
      throw staged.located(error)
    }
    try staged.commit()
  }

  /// Writes `bytes` as a file that takes the name `path` only when all of it is on the disk.
  package static func write(
    _ bytes: [UInt8], to path: String, overwrite: Bool
  ) throws(RegateError) {
    try write(to: path, overwrite: overwrite) { (file) throws(RegateError) in
      try file.write(bytes)
    }
  }
}
