// SPDX-License-Identifier: Apache-2.0

import CSystem
import Foundation

/// A directory beside the destination in which an output is built; the output takes its final
/// name or names only when it is whole, and leaves nothing behind otherwise.
package struct StagedOutput: ~Copyable {
  /// What will stand at the destination.
  private enum Kind {
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
  private let claims: [OutputClaim]

  /// Stages a directory.
  package init(directory claim: OutputClaim) throws(RegateError) {
    try self.init([claim], .directory, at: claim.path, stage: claim.path)
  }

  /// Stages files of one folder.
  package init(files claims: [OutputClaim]) throws(RegateError) {
    let folder = claims.first?.path.directory ?? "."
    precondition(claims.allSatisfy { $0.path.directory == folder })
    try self.init(
      claims, .files(claims.map(\.path.lastPathComponent)), at: folder, stage: folder + "/")
  }

  private init(
    _ claims: [OutputClaim], _ kind: Kind, at destination: String, stage prefix: String
  ) throws(RegateError) {
    for claim in claims { try claim.verify() }
    let number = "\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
    let stage = "\(prefix)\(Self.mark)\(number).partial"
    guard unsafe mkdir(stage, 0o755) == 0 else {
      throw .system("cannot be written to", path: destination)
    }
    self.destination = destination
    self.stage = stage
    self.kind = kind
    self.claims = claims
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
  /// and removed afterwards. What has come in the way since the claims were made stays.
  package consuming func commit() throws(RegateError) {
    for claim in claims { try claim.verify() }
    StagedOutput.sync(stage)
    let overwrite = claims.allSatisfy(\.overwrite)
    switch kind {
    case .directory: try moveDirectory(overwrite: overwrite)
    case .files(let names): try moveFiles(names, overwrite: overwrite)
    }
  }

  private borrowing func moveDirectory(overwrite: Bool) throws(RegateError) {
    let old = stage + ".old"
    let replaced = unsafe overwrite && access(destination, F_OK) == 0
    if replaced { try StagedOutput.move(destination, to: old) }
    do throws(RegateError) {
      try StagedOutput.move(stage, to: destination, overwrite: overwrite)
    } catch {
      if replaced { try StagedOutput.move(old, to: destination) }
      throw error
    }
    if replaced { try? FileManager.default.removeItem(atPath: old) }
    StagedOutput.sync(destination.directory)
  }

  private borrowing func moveFiles(_ names: [String], overwrite: Bool) throws(RegateError) {
    // Never old files beside new ones under a name by which readers find them all.
    if overwrite, names.count > 1, let first = names.first {
      unsafe unlink("\(destination)/\(first)")
    }
    for (place, name) in names.enumerated().reversed() {
      do throws(RegateError) {
        try StagedOutput.move(
          "\(stage)/\(name)", to: "\(destination)/\(name)", overwrite: overwrite)
      } catch {
        // Another run's output has come: what is not its own goes again.
        if !overwrite {
          for moved in names[(place + 1)...] { unsafe unlink("\(destination)/\(moved)") }
        }
        throw error
      }
    }
    StagedOutput.sync(destination)
  }

  /// Without `overwrite`, only to a name that nothing has.
  private static func move(
    _ from: String, to: String, overwrite: Bool = true
  ) throws(RegateError) {
    guard (overwrite ? unsafe rename(from, to) : unsafe regate_rename_new(from, to)) == 0 else {
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
