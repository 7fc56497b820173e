// SPDX-License-Identifier: Apache-2.0
//
// Changes a checkpoint's files in place. First an undo delta with every byte that will be lost is
// on the disk under its final name; from then on, at any moment, `Reversion` leads back.

package import Architectures
package import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections

package struct InPlaceWriter {
  private let writer: OutputWriter
  private let destination: OutputDestination

  package init(_ writer: OutputWriter) {
    self.writer = writer
    destination = writer.besideOriginal
  }

  /// A file that changes.
  fileprivate struct Change {
    let number: Int
    let file: MappedFile
    let patches: [PatchSet.Patch]

    /// The file's contents afterwards.
    func segments(_ patches: PatchSet) -> [Segment] {
      patches.segments(of: file, index: number, range: 0..<file.count)
    }
  }

  /// The path that the undo delta and the manifest are named after.
  private var path: String { Self.path(destination, writer.model) }

  /// The same of a checkpoint that is to be changed.
  package static func path(of model: Model) -> String {
    path(OutputDestination(besideOriginal: model, severalFiles: false), model)
  }

  private static func path(_ destination: OutputDestination, _ model: Model) -> String {
    destination.isDirectory ? destination.folder : model.checkpoint.files[0].path
  }

  /// Refuses, before any long work, what cannot be changed in place.
  package static func requirePossible(_ model: Model) throws(RegateError) {
    let destination = OutputDestination(besideOriginal: model, severalFiles: false)
    let undo = UndoFile.path(for: path(of: model))
    guard !FileManager.default.fileExists(atPath: undo) else {
      throw RegateError(
        .refused, file: undo, "exists already: the checkpoint was changed in place before",
        advice: "go back to the original first, with `Reversion`")
    }
    _ = try undoClaim(undo)
    _ = try manifestClaim(destination)
    for file in model.checkpoint.files {
      guard UndoFile.mayName(file.path.lastPathComponent, of: path(of: model)) else {
        throw RegateError(
          .refused, file: file.path, "has a name that the undo delta must not have",
          advice: "let it end in .safetensors, in the index too, or write a copy")
      }
      try InPlaceFile.requireSingleName(file.path)
      try InPlaceFile.requireWritable(file.path)
    }
  }

  // What is written beside the checkpoint's own files can be none of them: the undo delta is new,
  // and the manifest takes the place of a manifest only.

  private static func undoClaim(_ path: String) throws(RegateError) -> OutputClaim {
    try OutputClaim(path, as: .delta, overwrite: false, apartFrom: RunInputs())
  }

  private static func manifestClaim(
    _ destination: OutputDestination
  ) throws(RegateError) -> OutputClaim {
    try OutputClaim(
      destination.folder + "/" + destination.manifestName, as: .manifest, overwrite: true,
      apartFrom: RunInputs())
  }

  /// What an output of Regate says of itself already; nil where nothing does. It comes back when
  /// the change is taken back.
  private func manifestBefore() throws(RegateError) -> String? {
    let path = try Self.manifestClaim(destination).path
    return FileKind(of: path) == nil ? nil : try? String(contentsOfFile: path, encoding: .utf8)
  }

  /// Writes the undo delta, then the changes, then the manifest.
  package func write() throws(RegateError) -> InPlaceSummary {
    try Self.requirePossible(writer.model)
    let patches = try writer.writer(destination).inPlace()
    let changes = writer.model.checkpoint.files.enumerated().compactMap { number, file in
      patches[number].isEmpty
        ? nil : Change(number: number, file: file, patches: patches[number])
    }
    let before = try hashes(changes.map { [.range($0.file, 0..<$0.file.count)] }, "Hashing")
    let after = try hashes(changes.map { $0.segments(patches) }, "Hashing the output")
    try writer.model.checkpoint.requireUnchanged()
    let undo = UndoFile.path(for: path)
    var undoBytes = 0
    if !changes.isEmpty {
      undoBytes = try writeUndo(changes, before: before, after: after, to: undo)
      do throws(RegateError) {
        try apply(changes, undo: try DeltaFile(path: undo))
        try verify(changes, after)
        try writeManifest(changes, after)
      } catch {
        throw RegateError(
          error.code, file: error.file, subject: error.subject, error.problem,
          advice: "`Reversion` of \(path) brings the original back")
      }
    }
    return InPlaceSummary(
      files: changes.map(\.file.path.lastPathComponent), byteCount: patches.byteCount,
      undo: undo, undoBytes: undoBytes)
  }

  private func writeUndo(
    _ changes: [Change], before: [String], after: [String], to path: String
  ) throws(RegateError) -> Int {
    let targets = changes.enumerated().map { index, change in
      var parts: [DeltaWriter.Part] = []
      var position = 0
      for patch in change.patches {
        if position < patch.range.lowerBound {
          parts.append(.copied(source: index, position..<patch.range.lowerBound))
        }
        parts.append(.stored(.range(change.file, patch.range)))
        position = patch.range.upperBound
      }
      if position < change.file.count {
        parts.append(.copied(source: index, position..<change.file.count))
      }
      return DeltaWriter.Target(
        name: name(change), part: change.number, parts: parts, sha256: before[index])
    }
    let delta = DeltaWriter(
      kind: .undo,
      about: [
        "regate": .string(RegateVersion.current),
        "manifest": .string(destination.manifestName),
        "manifest_before": .optional(try manifestBefore()),
      ],
      sources: changes.map {
        DeltaWriter.Source(name: name($0), part: $0.number, file: $0.file)
      }, digests: after)
    return try delta.write(targets, to: Self.undoClaim(path))
  }

  private func name(_ change: Change) -> String {
    destination.isDirectory
      ? writer.model.checkpoint.fileNames[change.number] : change.file.path.lastPathComponent
  }

  private func hashes(_ files: [[Segment]], _ label: String) throws(RegateError) -> [String] {
    try CheckpointWriting.hashes(
      of: files, label, threads: writer.threads, progress: writer.progress)
  }

  /// Writes every patch. What a patch copies may itself be overwritten by another one: such bytes
  /// are taken from the undo delta.
  private func apply(_ changes: [Change], undo: DeltaFile) throws(RegateError) {
    let saved = SavedRanges(undo, files: changes.map(\.file))
    writer.progress.begin(
      "Writing", total: changes.joinedPatches.reduce(0) { $0 + $1.range.count })
    for change in changes {
      let target = try InPlaceFile(path: change.file.path)
      for patch in change.patches {
        var position = patch.range.lowerBound
        for segment in saved.resolved(patch.source) {
          try segment.inChunks { (bytes, offset) throws(RegateError) in
            try target.write(bytes, at: position + offset)
            writer.progress.advance(bytes.byteCount)
          }
          position += segment.count
        }
      }
      try target.sync()
    }
    writer.progress.end()
  }

  private func verify(_ changes: [Change], _ after: [String]) throws(RegateError) {
    var files: [[Segment]] = []
    for change in changes {
      let file = try MappedFile(path: change.file.path)
      files.append([.range(file, 0..<file.count)])
    }
    for (index, digest) in try hashes(files, "Verifying").enumerated()
    where digest != after[index] {
      throw RegateError(
        .io, file: changes[index].file.path,
        "verification failed: the file does not hold what was written")
    }
  }

  private func writeManifest(_ changes: [Change], _ after: [String]) throws(RegateError) {
    var json = writer.manifest.json(
      files: zip(changes, after).map { change, digest in
        Manifest.File(name: name(change), byteCount: change.file.count, sha256: digest)
      })
    json["undo"] = .string(UndoFile.path(for: path).lastPathComponent)
    try AtomicFile.write(json.serialised(.pretty), to: Self.manifestClaim(destination))
  }
}

extension [InPlaceWriter.Change] {
  fileprivate var joinedPatches: [PatchSet.Patch] { flatMap(\.patches) }
}

/// Ranges of files that are about to be overwritten, and where an undo delta keeps their bytes.
private struct SavedRanges {
  private struct Saved {
    let range: Range<Int>
    /// In the undo delta's file.
    let start: Int
  }

  private let undo: MappedFile
  private var saved: [FileIdentity: [Saved]] = [:]

  init(_ undo: DeltaFile, files: [MappedFile]) {
    self.undo = undo.file
    for (entry, file) in zip(undo.delta.files, files) {
      var position = 0
      for piece in entry.pieces {
        if case .data(let range) = piece {
          saved[file.identity, default: []].append(
            Saved(
              range: position..<position + range.count, start: undo.dataStart + range.lowerBound))
        }
        position += piece.count
      }
    }
  }

  /// `segment` with every byte from where it still is what it was.
  func resolved(_ segment: Segment) -> [Segment] {
    guard case .range(let file, let range) = segment, let list = saved[file.identity] else {
      return [segment]
    }
    var result: [Segment] = []
    var position = range.lowerBound
    for entry in list where entry.range.overlaps(range) {
      let part = entry.range.clamped(to: range)
      if position < part.lowerBound { result.append(.range(file, position..<part.lowerBound)) }
      let start = entry.start + part.lowerBound - entry.range.lowerBound
      result.append(.range(undo, start..<start + part.count))
      position = part.upperBound
    }
    if position < range.upperBound { result.append(.range(file, position..<range.upperBound)) }
    return result
  }
}
