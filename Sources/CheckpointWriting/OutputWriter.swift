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
    let byteCount = contents.weights.reduce(0) { $0 + $1.byteCount }
    try Volume.requireFree(byteCount, near: destination.folder)
    let manifestName = destination.manifestName
    let stage = try destination.stage(claims)
    progress.begin("Writing", total: byteCount)
    var methods: [OutputMethod: Int] = [:]
    for file in contents.files {
      try progress.requireWanted()
      do throws(RegateError) {
        let method = try file.write(to: stage.path(file.name), linking: links) {
          progress.advance($0)
        }
        methods[method, default: 0] += 1
      } catch {
        throw stage.located(error)
      }
    }
    progress.end()
    let verified = try Verification(
      original: model.checkpoint, output: contents.writer.open(in: stage.stage),
      patches: patches, progress: progress
    ).run()
    try model.checkpoint.requireUnchanged()
    let json = manifest.json(files: try hashed(contents.files, in: stage.stage))
    try OutputFile(name: manifestName, segments: [.bytes(json.serialised(.pretty))])
      .write(to: stage.path(manifestName)) { _ in }
    try stage.commit()
    return CopySummary(
      files: contents.files.map(\.name) + [manifestName], byteCount: byteCount,
      identicalTensors: verified.identicalTensors, changedTensors: verified.changedTensors,
      methods: methods)
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

  // MARK: Hashes

  /// Name, size and SHA-256 of every file in the folder `stage`.
  private func hashed(
    _ files: [OutputFile], in stage: String
  ) throws(RegateError) -> [Manifest.File] {
    var written: [MappedFile] = []
    for file in files { written.append(try MappedFile(path: stage + "/" + file.name)) }
    let digests = try hashes(
      of: written.map { [.range($0, 0..<$0.count)] }, "Hashing", threads: threads,
      progress: progress)
    return files.indices.map {
      Manifest.File(
        name: files[$0].name, byteCount: written[$0].count, sha256: digests[$0])
    }
  }
}
