// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A file or directory that is built under a temporary name beside its destination and takes the
/// final name in one step, or leaves nothing behind.
package struct StagedOutput: ~Copyable {
  package enum Kind: Sendable { case file, directory }

  /// The final path.
  package let destination: String
  /// Where to build it until `commit`.
  package let stage: String
  private let kind: Kind
  private var committed = false

  /// Reserves a temporary sibling of `destination`. An existing destination is refused unless
  /// `overwrite` says otherwise.
  package init(destination: String, kind: Kind, overwrite: Bool) throws(RegateError) {
    let path = try StagedOutput.vacant(destination, kind: kind, overwrite: overwrite)
    let stage = "\(path).regate-\(getpid())-\(UInt32.random(in: 0...UInt32.max)).partial"
    if kind == .directory {
      guard mkdir(stage, 0o755) == 0 else { throw .system("cannot be created", path: stage) }
    }
    self.destination = path
    self.stage = stage
    self.kind = kind
  }

  /// `destination` without trailing slashes, if the output may take that name.
  private static func vacant(
    _ destination: String, kind: Kind, overwrite: Bool
  ) throws(RegateError) -> String {
    var path = destination
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    var status = stat()
    guard lstat(path, &status) == 0 else { return path }
    guard overwrite else {
      throw RegateError(
        .refused, file: path, "exists already",
        advice: "choose another output or pass --overwrite")
    }
    let isDirectory = status.st_mode & S_IFMT == S_IFDIR
    guard isDirectory == (kind == .directory) else {
      throw RegateError(
        .refused, file: path,
        "is a \(isDirectory ? "directory" : "file"), but the output is a \(kind)",
        advice: "choose another output")
    }
    return path
  }

  deinit {
    if !committed { StagedOutput.remove(stage) }
  }

  /// The staged path of `name` inside a staged directory; its folders are made.
  package func path(_ name: String) throws(RegateError) -> String {
    let path = stage + "/" + name
    let folder = (path as NSString).deletingLastPathComponent
    do {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw RegateError(.io, file: folder, "cannot be created: \(error.localizedDescription)")
    }
    return path
  }

  /// Gives the staged output its final name. What had that name before is removed afterwards.
  package consuming func commit() throws(RegateError) {
    StagedOutput.syncDirectory(kind == .directory ? stage : parent)
    if kind == .directory, access(destination, F_OK) == 0 {
      let old = stage + ".old"
      guard rename(destination, old) == 0 else {
        throw .system("cannot be moved aside", path: destination)
      }
      guard rename(stage, destination) == 0 else {
        let error = RegateError.system("cannot take its final name", path: stage)
        rename(old, destination)
        throw error
      }
      StagedOutput.remove(old)
    } else {
      guard rename(stage, destination) == 0 else {
        throw .system("cannot take its final name \(destination)", path: stage)
      }
    }
    committed = true
    StagedOutput.syncDirectory(parent)
  }

  private var parent: String {
    let parent = (destination as NSString).deletingLastPathComponent
    return parent.isEmpty ? "." : parent
  }

  private static func syncDirectory(_ path: String) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  private static func remove(_ path: String) {
    try? FileManager.default.removeItem(atPath: path)
  }
}
