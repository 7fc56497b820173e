// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A directory beside the destination in which an output is built; the output takes its final
/// name or names only when it is whole, and leaves nothing behind otherwise.
package struct StagedOutput: ~Copyable {
  /// What will stand at the destination.
  package enum Kind: Sendable {
    /// The staged directory itself.
    case directory
    /// The staged files of these names, beside each other; the last one to appear is the first
    /// named, by which readers find the others.
    case files([String])
  }

  /// What stands before process and number in the name of a stage.
  static let mark = ".regate-"

  /// Where the output is built.
  package let stage: String
  private let destination: String
  private let kind: Kind

  /// Stages an output: `destination` is the final path of the directory, or the folder that the
  /// files go into. What is there already is refused unless `overwrite` says otherwise.
  package init(destination: String, kind: Kind, overwrite: Bool) throws(RegateError) {
    let path = destination.withoutTrailingSlashes
    for (path, isDirectory) in StagedOutput.results(path, kind) {
      try StagedOutput.requireVacant(path, isDirectory: isDirectory, overwrite: overwrite)
    }
    let number = "\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    let stage: String
    switch kind {
    case .directory: stage = "\(path)\(Self.mark)\(number).partial"
    case .files: stage = "\(path)/\(Self.mark)\(number).partial"
    }
    guard unsafe mkdir(stage, 0o755) == 0 else { throw .system("cannot be written to", path: path) }
    self.destination = path
    self.stage = stage
    self.kind = kind
  }

  deinit { try? FileManager.default.removeItem(atPath: stage) }

  /// The staged path of `name`; its folders are made.
  package borrowing func path(_ name: String) throws(RegateError) -> String {
    let path = stage + "/" + name
    let folder = path.directory
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw RegateError(.io, file: folder, "cannot be created: \(error.localizedDescription)")
    }
    return path
  }

  /// An error about a staged file as one about what the file was to become.
  package borrowing func located(_ error: RegateError) -> RegateError {
    var error = error
    if let file = error.file, file.hasPrefix(stage + "/") {
      error.file = (destination == "." ? "" : destination + "/") + file.dropFirst(stage.count + 1)
    }
    return error
  }

  /// Takes the finished file at `path`, on the same volume, into the stage under `name`.
  package borrowing func adopt(_ path: String, as name: String) throws(RegateError) {
    try StagedOutput.move(path, to: stage + "/" + name)
  }

  /// Gives the output its final name or names. A directory that it replaces is moved aside first
  /// and removed afterwards.
  package consuming func commit() throws(RegateError) {
    StagedOutput.sync(stage)
    switch kind {
    case .directory:
      let old = stage + ".old"
      let replaced = unsafe access(destination, F_OK) == 0
      if replaced { try StagedOutput.move(destination, to: old) }
      do throws(RegateError) {
        try StagedOutput.move(stage, to: destination)
      } catch {
        if replaced { try StagedOutput.move(old, to: destination) }
        throw error
      }
      if replaced { try? FileManager.default.removeItem(atPath: old) }
      StagedOutput.sync(destination.directory)
    case .files(let names):
      // Never old files beside new ones under a name by which readers find them all.
      if names.count > 1, let first = names.first { unsafe unlink("\(destination)/\(first)") }
      for name in names.reversed() {
        try StagedOutput.move("\(stage)/\(name)", to: "\(destination)/\(name)")
      }
      StagedOutput.sync(destination)
    }
  }

  private static func results(_ destination: String, _ kind: Kind) -> [(String, Bool)] {
    switch kind {
    case .directory: [(destination, true)]
    case .files(let names): names.map { ("\(destination)/\($0)", false) }
    }
  }

  /// Refuses a path at which something stands that must not be replaced.
  package static func requireVacant(
    _ path: String, isDirectory: Bool, overwrite: Bool
  ) throws(RegateError) {
    guard let kind = FileKind(of: path, followingLinks: false) else { return }
    guard overwrite else {
      throw RegateError(
        .refused, file: path, "exists already",
        advice: "choose another output or pass `overwrite`")
    }
    guard (kind == .directory) == isDirectory else {
      throw RegateError(
        .refused, file: path, isDirectory ? "is not a directory" : "is not a file",
        advice: "choose another output")
    }
  }

  private static func move(_ from: String, to: String) throws(RegateError) {
    guard unsafe rename(from, to) == 0 else {
      throw .system("cannot take its place from \(from)", path: to)
    }
  }

  /// Makes renames in a directory durable. Not every file system can; none fails for lack of it.
  private static func sync(_ directory: String) {
    let descriptor = unsafe open(
      directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }
}
