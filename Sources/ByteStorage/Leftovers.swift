// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What runs that were killed left beside an output. It is named, never removed: a process of
/// another machine or container, which may still be writing, cannot be told from a dead one.
package enum Leftovers {
  /// The stages beside `output` whose processes are gone, by path: folders of this user, named as
  /// StagedOutput names them.
  package static func beside(_ output: String) -> [String] {
    let folder = output.directory
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    let prefixes = [output.lastPathComponent + StagedOutput.mark, StagedOutput.mark]
    return names.sorted().filter { name in
      prefixes.contains { name.hasPrefix($0) && isOfDeadRun(name.dropFirst($0.count)) }
    }.map { folder + "/" + $0 }.filter(isOwnFolder)
  }

  /// `suffix`: process, random number, ending.
  private static func isOfDeadRun(_ suffix: Substring) -> Bool {
    guard let match = suffix.wholeMatch(of: /([1-9][0-9]*)-[0-9]+\.partial(\.old)?/),
      let process = pid_t(match.1)
    else { return false }
    return kill(process, 0) != 0 && errno == ESRCH
  }

  private static func isOwnFolder(_ path: String) -> Bool {
    var status = stat()
    // SAFETY: `lstat` fills the structure that it is given.
    guard unsafe lstat(path, &status) == 0 else { return false }
    return FileKind(mode: status.st_mode) == .directory && status.st_uid == getuid()
  }
}

extension ProgressSink {
  /// Names what killed runs left beside `output`.
  package func warnOfLeftovers(beside output: String) {
    for path in Leftovers.beside(output) {
      warn(
        path.hasSuffix(".old")
          ? "\(path) is the output that a killed run was replacing: move it back, or remove it"
          : "\(path) is left of a killed run: remove it, unless another machine writes there")
    }
  }
}
