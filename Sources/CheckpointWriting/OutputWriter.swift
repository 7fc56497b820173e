// SPDX-License-Identifier: Apache-2.0
//
// Builds a whole output beside its destination, verifies it there against the original, and only
// then lets it take its name.

package import Architectures
package import ByteStorage
import Checkpoints
import Forms
import Measures
import ModelFitting
import OrderedCollections
import Tensors

package struct OutputWriter {
  package let model: Model
  package let patches: [LayerPatch]
  package let manifest: Manifest
  package let threads: Int
  package let progress: any ProgressSink

  package init(
    model: Model, patches: [LayerPatch], manifest: Manifest, threads: Int,
    progress: any ProgressSink
  ) {
    self.model = model
    self.patches = patches
    self.manifest = manifest
    self.threads = threads
    self.progress = progress
  }

  /// The files of an output, but for the manifest, which holds their hashes.
  struct Contents {
    let weights: [OutputFile]
    let sides: [OutputFile]
    let writer: any CheckpointWriter

    var files: [OutputFile] { weights + sides }
  }

  /// Writes the output to `sink`.
  package func write(to sink: ClaimedSink) throws(RegateError) -> Written {
    switch sink {
    case .copy(let destination, let claims, let links):
      return .copy(try copy(to: destination, claims, links: links))
    case .delta(let claim):
      return .delta(byteCount: try writeDelta(to: claim))
    case .inPlace:
      return .inPlace(try InPlaceWriter(self).write())
    }
  }

  /// Whether tensors are added, which then stand in a file of their own.
  var severalFiles: Bool { patches.contains { !$0.router.added.isEmpty } }

  /// Where the output would have the names of the original.
  var besideOriginal: OutputDestination {
    OutputDestination(besideOriginal: model, severalFiles: severalFiles)
  }

  // MARK: A copy

  private func copy(
    to destination: OutputDestination, _ claims: [OutputClaim], links: Bool
  ) throws(RegateError) -> CopySummary {
    let contents = try contents(destination)
    let files = contents.files
    let byteCount = contents.weights.reduce(0) { $0 + $1.byteCount }
    try Volume.requireFree(byteCount, near: destination.folder)
    let manifestName = destination.manifestName
    let stage = try destination.stage(claims)
    progress.begin("Writing", total: files.reduce(0) { $0 + $1.byteCount })
    let started = try stage.started(files, linking: links)
    // What is not weights comes first: with it and the heads of the weights, the output is opened.
    var digests = try fill(started.filter { $0.file.head == nil }, [:], in: stage)
    let output = try contents.writer.open(in: stage.stage)
    let verification = try Verification(
      original: model.checkpoint, output: output, patches: patches
    ).checks()
    let checks = Dictionary(
      uniqueKeysWithValues: zip(output.files.map(\.identity), verification.checks))
    precondition(checks.count == output.files.count)
    digests.merge(try fill(started.filter { $0.file.head != nil }, checks, in: stage)) { $1 }
    progress.end()
    try model.checkpoint.requireUnchanged()
    let listing = files.map {
      Manifest.File(name: $0.name, byteCount: $0.byteCount, sha256: digests[$0.name] ?? "")
    }
    let json = manifest.json(files: listing).serialised(.pretty)
    for file in try stage.started([OutputFile(name: manifestName, segments: [.bytes(json)])]) {
      let check = try FileCheck(path: file.path)
      _ = try stage.fill([(file, check)], threads: 1, progress: NoProgress())
    }
    try stage.commit()
    return CopySummary(
      files: files.map(\.name) + [manifestName], byteCount: byteCount,
      identicalTensors: verification.result.identicalTensors,
      changedTensors: verification.result.changedTensors,
      methods: started.reduce(into: [:]) { $0[$1.method, default: 0] += 1 })
  }

  /// Writes the rest of the files, each followed by its check, or hashed only; their SHA-256 by
  /// name.
  private func fill(
    _ files: [StartedFile], _ checks: [FileIdentity: FileCheck], in stage: borrowing StagedOutput
  ) throws(RegateError) -> [String: String] {
    var pairs: [(file: StartedFile, check: FileCheck)] = []
    for file in files {
      if let check = Volume.identity(of: file.path).flatMap({ checks[$0] }) {
        pairs.append((file, check))
      } else {
        pairs.append((file, try FileCheck(path: file.path)))
      }
    }
    let digests = try stage.fill(pairs, threads: threads, progress: progress)
    return Dictionary(uniqueKeysWithValues: zip(files.map(\.file.name), digests))
  }

  // MARK: Contents

  func contents(_ destination: OutputDestination) throws(RegateError) -> Contents {
    let writer = writer(destination)
    return Contents(
      weights: try writer.files(), sides: try writer.sideFiles(ownFiles(destination)),
      writer: writer)
  }

  /// What the container does with the patches.
  func writer(_ destination: OutputDestination) -> any CheckpointWriter {
    switch model.checkpoint.format {
    case .safetensors(let checkpoint):
      SafetensorsOutput(
        checkpoint: checkpoint, patches: patches,
        fileName: destination.isDirectory ? nil : destination.name)
    case .gguf(let checkpoint):
      GGUFOutput(
        checkpoint: checkpoint, patches: patches, provenance: manifest.provenance,
        name: destination.name)
    }
  }

  /// The configuration and the files that go with the form, and the model card.
  private func ownFiles(_ destination: OutputDestination) throws(RegateError) -> OwnFiles {
    var own = OwnFiles(leftOut: [destination.manifestName, UndoFile.directoryName])
    // Nothing to say about an output in which nothing changed.
    guard !patches.isEmpty else { return own }
    own.manifest = manifest
    guard case .conversion(let fit, let form, _) = manifest.deed,
      let config = model.checkpoint.config
    else { return own }
    let changed = Set(patches.map(\.layer.index))
    let layers = zip(model.layout.layers, fit.layers).filter { changed.contains($0.0.index) }
      .map { (layer: $0, routers: $1.fitted.routers) }
    let patched: JSONValue? =
      if let pruned = patches.first(where: \.isPruning) {
        model.layout.configuration(config, experts: pruned.physicalToLogical.count)
      } else {
        try form.output.configuration(config, family: model.layout.family, layers: layers)
      }
    if let patched { own.made["config.json"] = patched.serialised(.python) }
    for (name, bytes) in form.output.sideFiles { own.made[name] = bytes }
    return own
  }
}
