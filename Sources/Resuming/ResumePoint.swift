// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Checkpoints
import Foundation
package import Inference
import OrderedCollections

/// The folder in which a long run keeps its state, saved now and then at the end of a layer.
///
/// A save costs one write of the hidden states, so that it waits for `ResumeOptions.interval`
/// seconds of work: short runs never write one. A state that cannot be saved does not end the run.
package final class ResumePoint {
  /// What is done about a state that is there when none is to be continued.
  package enum Leftover {
    /// Nothing is started.
    case refuse
    /// It is removed.
    case remove
    /// The run keeps no state of its own.
    case leave
  }

  package let folder: String
  private let claim: OutputClaim
  private let key: ResumeKey
  private let options: ResumeOptions
  private let progress: any ProgressSink
  /// What is in the folder.
  package private(set) var state: ResumeState
  /// Whether the folder holds a state of this run.
  package private(set) var isSaved = false
  /// While the folder is this run's to write into and to remove.
  private var lock: FolderLock?
  private var isDisabled = false
  private var lastSave = ContinuousClock.now

  /// Looks for a state beside `output`, before any long work.
  package init(
    beside output: String, key: ResumeKey, options: ResumeOptions, leftover: Leftover,
    progress: any ProgressSink
  ) throws(RegateError) {
    folder = ResumeOptions.folder(for: output)
    // A folder of another content is not this run's to write into, less to remove.
    claim = try OutputClaim(folder, as: .resumeFolder, overwrite: true, apartFrom: RunInputs())
    self.key = key
    self.options = options
    self.progress = progress
    state = ResumeState()
    guard FileManager.default.fileExists(atPath: folder + "/" + ResumeState.fileName) else {
      return
    }
    if options.resumes {
      lock = try FolderLock(folder)
      state = try ResumeState(in: folder, key: key)
      isSaved = true
      return
    }
    switch leftover {
    case .refuse:
      // Of one that is under way this says so.
      _ = try FolderLock(folder)
      throw RegateError(
        .refused, file: folder, "holds the state of an interrupted run",
        advice: "continue it with `resume`, or remove the folder to start anew")
    case .remove:
      lock = try FolderLock(folder)
      discard()
    case .leave: isDisabled = true
    }
  }

  /// Begins or continues the pass over the layers called `name`; a saved one of another name cannot
  /// be continued.
  package func enter(_ name: String) throws(RegateError) {
    guard isSaved else {
      state.name = name
      return
    }
    guard state.name == name else {
      throw ResumeState.damaged(folder + "/" + ResumeState.fileName)
    }
  }

  /// Whether so much was done since the last save that the next is due.
  package var isDue: Bool {
    !isDisabled && (ContinuousClock.now - lastSave) / .milliseconds(1) >= options.interval * 1000
  }

  /// Makes the folder, for a file that is no state but belongs to the run.
  package func makeFolder() throws(RegateError) {
    try claim.verify()
    guard lock == nil else { return }
    try Folder.make(folder)
    lock = try FolderLock(folder)
  }

  /// Saves `changed`, which has the given new records, and the hidden states of `pass`.
  package func save(
    _ changed: ResumeState, records: [(layer: Int, records: [ResumeRecord])], pass: ForwardPass?
  ) throws(RegateError) {
    do throws(RegateError) {
      try write(changed, records, pass)
    } catch {
      isDisabled = true
      progress.warn("the state of this run cannot be kept: \(error)")
      return
    }
    lastSave = .now
    if let error = options.afterSave?(changed.layer) { throw error }
  }

  private func write(
    _ changed: ResumeState, _ records: [(layer: Int, records: [ResumeRecord])],
    _ pass: ForwardPass?
  ) throws(RegateError) {
    // Records of earlier saves are gone with it: a state without them could not be continued.
    guard !isSaved || FileKind(of: folder + "/" + ResumeState.fileName) == .file else {
      throw RegateError(.io, file: folder, "was removed, as by another run that makes this output")
    }
    try makeFolder()
    var changed = changed
    for (layer, records) in records {
      for (number, record) in records.enumerated() {
        let name = ResumeState.recordName(layer: layer, number)
        try record.write(to: own(name))
        changed.digests[name] = try ContentDigest.whole(folder + "/" + name)
      }
    }
    let old = state.hidden
    changed.hidden = nil
    if let old { changed.digests[old] = nil }
    if let pass {
      let name = ResumeState.hiddenName(layer: changed.layer)
      changed.hidden = name
      changed.streams = pass.distinctStreams
      try? FileManager.default.removeItem(atPath: folder + "/" + name)
      var file = try FileWriter(creating: folder + "/" + name)
      for stream in 0..<pass.distinctStreams {
        try pass.withState(stream: stream) { (values) throws(RegateError) in
          try file.write(floats: values)
        }
      }
      try file.sync()
      changed.digests[name] = try ContentDigest.whole(folder + "/" + name)
    }
    try AtomicFile.write(
      changed.json(key: key).serialised(.pretty), to: own(ResumeState.fileName))
    state = changed
    isSaved = true
    if let old, old != changed.hidden {
      try? FileManager.default.removeItem(atPath: folder + "/" + old)
    }
  }

  /// Refuses a file of the state that has other bytes than when it was kept.
  package func requireWhole(_ name: String) throws(RegateError) {
    let path = folder + "/" + name
    guard try ContentDigest.whole(path) == state.digests[name] else {
      throw ResumeState.damaged(path)
    }
  }

  private func own(_ name: String) throws(RegateError) -> OutputClaim {
    try OutputClaim(
      folder + "/" + name, as: .ownFile, overwrite: true, apartFrom: RunInputs())
  }

  /// Removes the folder: the run is done, or left nothing that it could be continued from. One that
  /// somebody put files into stays.
  package func discard() {
    guard lock != nil, (try? claim.verify()) != nil else { return }
    try? FileManager.default.removeItem(atPath: folder)
    lock = nil
    isSaved = false
  }
}
