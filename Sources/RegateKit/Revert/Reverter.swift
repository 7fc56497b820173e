// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import CheckpointWriting
import Checkpoints
import Foundation
import OrderedCollections

/// Takes back one change in place.
struct Reverter {
  private let path: String
  private let undoPath: String
  private let undo: DeltaFile
  private let folder: String
  private let threads: Int
  private let progress: any ProgressSink

  /// Opens the undo delta of the checkpoint at `path`: a directory, or its (first) file.
  init(_ path: String, threads: Int, progress: any ProgressSink) throws(RegateError) {
    var path = path.withoutTrailingSlashes
    if path.lowercased().hasSuffix(".gguf"), let checkpoint = try? GGUFCheckpoint(path: path) {
      path = checkpoint.files[0].path
    }
    guard FileManager.default.fileExists(atPath: path) else {
      throw RegateError(.missing, file: path, "no such file or directory")
    }
    undoPath = UndoFile.path(for: path)
    guard FileManager.default.fileExists(atPath: undoPath) else {
      throw RegateError(
        .missing, file: undoPath, "is not there: nothing was changed in place, or it was reverted",
        advice: "a copy has its original beside it, untouched")
    }
    undo = try DeltaFile(path: undoPath)
    guard undo.delta.kind == .undo else {
      throw RegateError(.mismatch, file: undoPath, "is no undo delta")
    }
    self.path = path
    folder = undoPath.directory
    self.threads = threads
    self.progress = progress
    try requireOwn()
  }

  /// Refuses an undo delta that names anything but weights of the checkpoint and the manifest.
  private func requireOwn() throws(RegateError) {
    for name in undo.delta.files.map(\.name) where !UndoFile.mayName(name, of: path) {
      throw foreign("files", "\(name) holds no weights of the checkpoint")
    }
    guard let manifest = undo.delta.about["manifest"]?.stringValue else { return }
    guard OutputDestination.isManifestName(manifest) else {
      throw foreign("manifest", "\(manifest) is no name that Regate gives one")
    }
  }

  private func foreign(_ subject: String, _ problem: String) -> RegateError {
    RegateError(
      .refused, file: undoPath, subject: subject, problem,
      advice: "nothing was written; fetch the original again")
  }

  /// Checks that the undo delta leads back to the original, writes, and checks again. A run that
  /// was interrupted is simply run again.
  func run() throws(RegateError) -> Reversion {
    let entries = undo.delta.files
    let manifest = try manifestClaim()
    var files: [MappedFile] = []
    for entry in entries {
      let path = folder + "/" + entry.name
      try InPlaceFile.requireSingleName(path)
      let file = try MappedFile(path: path)
      guard file.count == entry.byteCount else {
        throw changed(path, "has \(file.count) bytes instead of \(entry.byteCount)")
      }
      files.append(file)
    }
    var restored: [[Segment]] = []
    for entry in entries { restored.append(try undo.segments(of: entry, base: files)) }
    try require(try hashes(restored, "Checking"), of: entries)
    var byteCount = 0
    for (entry, segments) in zip(entries, restored) {
      let target = try InPlaceFile(path: folder + "/" + entry.name)
      var position = 0
      for (piece, segment) in zip(entry.pieces, segments) {
        if case .data = piece {
          try segment.inChunks { (bytes, offset) throws(RegateError) in
            try progress.requireWanted()
            try target.write(bytes, at: position + offset)
          }
          byteCount += segment.count
        }
        position += segment.count
      }
      try target.sync()
    }
    try require(
      try hashes(files.map { [.range($0, 0..<$0.count)] }, "Verifying"), of: entries)
    try restore(manifest)
    try Removal.remove(undoPath)
    return Reversion(checkpoint: path, files: entries.map(\.name), byteCount: byteCount)
  }

  /// The place of the manifest that the change wrote, where nothing else may stand by now.
  private func manifestClaim() throws(RegateError) -> OutputClaim? {
    guard let name = undo.delta.about["manifest"]?.stringValue else { return nil }
    return try OutputClaim(
      folder + "/" + name, as: .manifest, overwrite: true, apartFrom: RunInputs())
  }

  /// The manifest that the change wrote goes; one that it wrote over comes back.
  private func restore(_ manifest: OutputClaim?) throws(RegateError) {
    guard let manifest else { return }
    if let before = undo.delta.about["manifest_before"]?.stringValue {
      try AtomicFile.write(Array(before.utf8), to: manifest)
    } else {
      try manifest.verify()
      try Removal.remove(manifest.path)
    }
  }

  private func hashes(_ files: [[Segment]], _ label: String) throws(RegateError) -> [String] {
    try CheckpointWriting.hashes(of: files, label, threads: threads, progress: progress)
  }

  private func require(_ digests: [String], of entries: [Delta.File]) throws(RegateError) {
    for (digest, entry) in zip(digests, entries) where digest != entry.sha256 {
      throw changed(
        folder + "/" + entry.name,
        "would have SHA-256 \(digest) after reverting, the original had \(entry.sha256)")
    }
  }

  private func changed(_ path: String, _ problem: String) -> RegateError {
    RegateError(
      .mismatch, file: path, "was changed since the conversion: it \(problem)",
      advice: "nothing was written; fetch the original again")
  }
}
