// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Checkpoints

/// Applies one delta.
struct DeltaApplier {
  private let request: DeltaApplication.Request
  private let delta: DeltaFile
  private let model: Model
  private let destination: OutputDestination
  private let claims: [OutputClaim]
  private let progress: any ProgressSink

  /// Opens delta and checkpoint; refuses what does not fit together.
  init(_ request: DeltaApplication.Request, progress: any ProgressSink) throws(RegateError) {
    self.request = request
    self.progress = progress
    delta = try DeltaFile(path: request.delta)
    guard delta.delta.kind == .conversion else {
      throw RegateError(
        .refused, file: request.delta, "is the undo delta of a change in place",
        advice: "use `Reversion`")
    }
    model = try Model.open(request.checkpoint)
    // One file can hold an output of one.
    let parts = delta.delta.files.count { $0.part != nil }
    destination = try OutputDestination(request.output, for: model, severalFiles: parts > 1)
    claims = try destination.claims(
      overwrite: request.overwrite, apartFrom: RunInputs(model.checkpoint, [request.delta]))
    try requireKind()
  }

  /// A delta of a directory makes a directory, one of files makes files.
  private func requireKind() throws(RegateError) {
    let manifest = delta.delta.files.last?.name ?? ""
    guard (manifest == OutputDestination.manifestName) != destination.isDirectory else { return }
    throw RegateError(
      .mismatch, file: request.output,
      destination.isDirectory
        ? "is a directory, but the delta makes a file"
        : "is a file, but the delta makes a directory",
      advice: "choose another `output`")
  }

  /// Checks the base files' hashes, writes the output and checks it, and gives it its name.
  func run() throws(RegateError) -> DeltaApplication {
    progress.warnOfLeftovers(beside: request.output)
    let base = try openBase()
    var files: [OutputFile] = []
    for entry in delta.delta.files {
      files.append(
        OutputFile(name: name(of: entry), segments: try delta.segments(of: entry, base: base)))
    }
    let byteCount = files.reduce(0) { $0 + $1.byteCount }
    try Volume.requireFree(byteCount, near: destination.folder)
    let stage = try destination.stage(claims)
    progress.begin("Writing", total: byteCount)
    var started: [(StartedFile, FileCheck)] = []
    for file in try stage.started(files) {
      started.append((file, try FileCheck(path: file.path)))
    }
    let digests = try stage.fill(started, threads: request.threads, progress: progress)
    progress.end()
    for (entry, digest) in zip(delta.delta.files, digests) where digest != entry.sha256 {
      throw RegateError(
        .mismatch, file: request.delta, subject: entry.name,
        "verification failed: the file has SHA-256 \(digest), expected \(entry.sha256)",
        advice: "nothing was kept; the delta is damaged, or the disk is: fetch it and run again")
    }
    try stage.commit()
    return DeltaApplication(output: request.output, files: files.map(\.name), byteCount: byteCount)
  }

  /// The base files that are needed, each with the size and hash that the delta was made of.
  private func openBase() throws(RegateError) -> [MappedFile?] {
    let used = delta.usedBases
    var base: [MappedFile?] = []
    for (index, entry) in delta.delta.base.enumerated() {
      base.append(used.contains(index) ? try open(entry) : nil)
    }
    let opened = base.indices.compactMap { index in base[index].map { (index, $0) } }
    let digests = try hashes(opened.map { $0.1 }, "Checking the original")
    for ((index, file), digest) in zip(opened, digests)
    where digest != delta.delta.base[index].sha256 {
      throw wrong(
        file.path, "has SHA-256 \(digest), expected \(delta.delta.base[index].sha256)")
    }
    return base
  }

  private func open(_ entry: Delta.Base) throws(RegateError) -> MappedFile {
    let file: MappedFile
    if let part = entry.part {
      guard part < model.checkpoint.files.count else {
        throw wrong(
          request.checkpoint,
          "has \(model.checkpoint.files.count) files of tensors, but the delta names number \(part + 1)"
        )
      }
      file = model.checkpoint.files[part]
    } else {
      file = try MappedFile(path: model.checkpoint.directory + "/" + entry.name)
    }
    guard file.count == entry.byteCount else {
      throw wrong(file.path, "has \(file.count) bytes, expected \(entry.byteCount)")
    }
    return file
  }

  private func wrong(_ path: String, _ problem: String) -> RegateError {
    RegateError(
      .mismatch, file: path, "is not the file that the delta was made of: it \(problem)",
      advice: "give the very checkpoint that was converted, unchanged")
  }

  /// A file's name in the output: as it was in a directory, after the output otherwise.
  private func name(of entry: Delta.File) -> String {
    if destination.isDirectory { return entry.name }
    guard let part = entry.part else { return destination.manifestName }
    let count = delta.delta.files.count { $0.part != nil }
    return model.checkpoint.container == .gguf
      ? GGUFOutput.partName(part, of: count, name: destination.name) : destination.name
  }

  private func hashes(_ files: [MappedFile], _ label: String) throws(RegateError) -> [String] {
    try CheckpointWriting.hashes(
      of: files.map { [.range($0, 0..<$0.count)] }, label, threads: request.threads,
      progress: progress)
  }
}
