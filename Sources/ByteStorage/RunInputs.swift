// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a run reads, told by device and inode: no output takes its place, holds it or goes into it.
package struct RunInputs: Sendable {
  /// What an input is for the run.
  package enum Role: String, Sendable {
    /// The checkpoint that an output is made of.
    case original = "the original"
    case checkpoint = "the checkpoint"
    case other = "an input of this run"
  }

  /// What is read, files and folders.
  private var places: [FileIdentity: Role] = [:]
  /// Checkpoints' directories: whatever is put there becomes a part of them.
  private var closed: [FileIdentity: Role] = [:]
  /// Folders that may get files, but no folders.
  private var closedToFolders: [FileIdentity: Role] = [:]
  /// Every folder above an input.
  private var holders: [FileIdentity: Role] = [:]

  /// Nothing is read, or nothing that an output of a recognised kind could be.
  package init() {}

  package init(_ paths: [String]) {
    for path in paths { add(path) }
  }

  /// Adds a file or a folder. What is not there is left to its reader.
  package mutating func add(_ path: String, as role: Role = .other) {
    guard let identity = Volume.identity(of: path) else { return }
    places[identity] = role
    if role != .other, FileKind(of: path) == .directory { closed[identity] = role }
    // A link's own place must stay, and what it leads to.
    for folder in Volume.folders(above: path) + Volume.folders(above: path.resolved) {
      holders[folder] = role
    }
  }

  /// Adds the folder that a checkpoint's single file stands in, with files that belong to it.
  package mutating func add(folderOfOriginal path: String) {
    guard let identity = Volume.identity(of: path) else { return }
    closedToFolders[identity] = .original
  }

  /// Refuses an output at `path` that would harm an input.
  func requireApart(_ path: String, _ place: FileKind) throws(RegateError) {
    func refuse(_ problem: String) -> RegateError {
      RegateError(.refused, file: path, problem, advice: "choose another output")
    }
    if let identity = Volume.identity(of: path) {
      if let role = places[identity] {
        throw refuse("is \(role.rawValue)" + (role == .other ? "" : " itself"))
      }
      if place == .directory, let role = holders[identity] {
        throw refuse("holds \(role.rawValue)")
      }
    }
    for folder in Volume.folders(above: path) {
      let role = closed[folder] ?? (place == .directory ? closedToFolders[folder] : nil)
      if let role { throw refuse("lies inside \(role.rawValue)'s directory") }
    }
  }
}
