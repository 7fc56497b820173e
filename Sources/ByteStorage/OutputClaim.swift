// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The leave to write one output. Whatever gives a file or a directory its final name takes one, so
/// that no writer can replace what it was not asked to.
///
/// A claim is made before any long work and looked at again when the output takes its name: in
/// between, something else may have.
package struct OutputClaim: Sendable {
  package let path: String
  private let kind: OutputKind
  /// Whether it may replace an earlier output.
  let overwrite: Bool
  private let inputs: RunInputs

  /// Claims `path` for a new output, or with `overwrite` for one that replaces an output of the
  /// same kind. Refused is what stands in an input's place, and whatever is no regular file (or no
  /// directory): devices, pipes, sockets, links.
  package init(
    _ path: String, as kind: OutputKind, overwrite: Bool, apartFrom inputs: RunInputs
  ) throws(RegateError) {
    self.path = path.withoutTrailingSlashes
    self.kind = kind
    self.overwrite = overwrite
    self.inputs = inputs
    try verify()
  }

  /// Refuses what the initialiser refuses, as things are now.
  package func verify() throws(RegateError) {
    try inputs.requireApart(path, kind.place)
    try requireFolder()
    guard let found = FileKind(of: path, followingLinks: false) else { return }
    guard found == kind.place else {
      throw refused("is \(found.rawValue), where \(kind.place.rawValue) is to be written")
    }
    guard overwrite else {
      throw RegateError(
        .refused, file: path, "exists already",
        advice: "choose another output or pass `overwrite`")
    }
    if let objection = kind.objection(path) { throw refused(objection) }
  }

  private func requireFolder() throws(RegateError) {
    guard !path.isEmpty else { throw refused("the output's name is empty") }
    guard path.lastPathComponent != "-" else {
      throw refused("outputs are not written to standard output")
    }
    let folder = path.directory
    guard FileKind(of: folder) == .directory else {
      throw RegateError(
        .missing, file: folder, "is no directory", advice: "make it, or choose another output")
    }
    guard unsafe access(folder, W_OK) == 0 else {
      throw .system("cannot be written to", path: folder)
    }
  }

  private func refused(_ problem: String) -> RegateError {
    RegateError(.refused, file: path, problem, advice: "choose another output")
  }
}
