// SPDX-License-Identifier: Apache-2.0
//
// Builds a whole output beside its destination, verifies it there against the original, and only
// then lets it take its name.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Routing
import Tensors

struct OutputWriter {
  let model: Model
  let patches: [LayerPatch]
  let form: RouterForm
  let destination: OutputDestination
  /// What the manifest says beside the files: options, versions, figures.
  let manifest: JSONValue
  let threads: Int
  /// Hard-link files that do not change.
  var linking = false
  let progress: any ProgressSink

  /// What was written.
  struct Summary: Sendable {
    let files: [String]
    let byteCount: Int
    let identicalTensors: Int
    let changedTensors: Int
    /// How many files came to their bytes in which way.
    let methods: [OutputFile.Method: Int]

    /// The same in the order of all methods.
    var counts: [Int] { OutputFile.Method.allCases.map { methods[$0] ?? 0 } }
  }

  func write(overwrite: Bool) throws(RegateError) -> Summary {
    let contents = try contents()
    let byteCount = contents.weights.reduce(0) { $0 + $1.byteCount }
    try Volume.requireFree(byteCount, near: destination.folder)
    try destination.requireReplaceable()
    let manifestName = destination.manifestName
    let stage = try StagedOutput(
      destination: destination.folder,
      kind: destination.isDirectory
        ? .directory : .files(contents.weights.map(\.name) + [manifestName]),
      overwrite: overwrite)

    progress.begin("Writing", total: byteCount)
    var methods: [OutputFile.Method: Int] = [:]
    for file in contents.files {
      let method = try file.write(to: stage.path(file.name), linking: linking) {
        progress.advance($0)
      }
      methods[method, default: 0] += 1
    }
    progress.end()
    let verified = try verify(stage: stage.stage, contents)
    let json = try hashed(contents.files, in: stage.stage)
    try OutputFile(name: manifestName, segments: [.bytes(json.serialised(.pretty))])
      .write(to: stage.path(manifestName)) { _ in }
    try stage.commit()
    return Summary(
      files: contents.files.map(\.name) + [manifestName], byteCount: byteCount,
      identicalTensors: verified.identicalTensors, changedTensors: verified.changedTensors,
      methods: methods)
  }

  /// The files of an output, but for the manifest, which holds their hashes.
  struct Contents {
    let weights: [OutputFile]
    let sides: [OutputFile]
    let added: [SafetensorsWriter.Tensor]

    var files: [OutputFile] { weights + sides }
  }

  func contents() throws(RegateError) -> Contents {
    let added = try prototypeTensors()
    return Contents(
      weights: try weightFiles(added: added), sides: try sideFiles(), added: added)
  }

  private func prototypeTensors() throws(RegateError) -> [SafetensorsWriter.Tensor] {
    var tensors: [SafetensorsWriter.Tensor] = []
    for patch in patches {
      switch patch.router {
      case .prototype(let router):
        tensors += try PrototypeRouterFormat.tensors(of: router, gate: patch.layer.gate.name)
      case .official(let router):
        tensors += try OfficialRouterFormat.tensors(of: router, gate: patch.layer.gate.name)
      case .stock, .renumbered: continue
      }
    }
    return tensors
  }

  private func weightFiles(added: [SafetensorsWriter.Tensor]) throws(RegateError) -> [OutputFile] {
    if let checkpoint = model.checkpoint as? SafetensorsCheckpoint {
      return try SafetensorsOutput(
        checkpoint: checkpoint, patches: patches, added: added,
        fileName: destination.isDirectory ? nil : destination.name
      ).files()
    }
    guard let checkpoint = model.checkpoint as? GGUFCheckpoint else { return [] }
    return try GGUFOutput(
      checkpoint: checkpoint, patches: patches, provenance: provenance, name: destination.name
    ).files()
  }

  /// What a GGUF's header says of its making.
  private var provenance: OrderedDictionary<String, GGUFValue> {
    var keys: OrderedDictionary<String, GGUFValue> = [
      "regate.version": .string(RegateVersion.current),
      "regate.router": .string(form.rawValue),
      "regate.source": .string(model.checkpoint.path.lastPathComponent),
    ]
    let levers = manifest["options"]?["levers"]?.arrayValue?.compactMap(\.stringValue) ?? []
    keys["regate.levers"] = .string(levers.joined(separator: ","))
    if let options = manifest["options"] {
      keys["regate.options"] = .string(
        String(decoding: options.serialised(.compact), as: UTF8.self))
    }
    if let gini = manifest["figures"]?["held_out_gini"]?.doubleValue {
      keys["regate.held_out_gini"] = .float32(Float(gini))
    }
    return keys
  }

  /// The ranges that change where the files stay the same files.
  func inPlacePatches() throws(RegateError) -> PatchSet {
    if let checkpoint = model.checkpoint as? SafetensorsCheckpoint {
      return try SafetensorsOutput(
        checkpoint: checkpoint, patches: patches, added: [], fileName: nil
      ).inPlace()
    }
    guard let checkpoint = model.checkpoint as? GGUFCheckpoint else { return PatchSet(files: 0) }
    return try GGUFOutput(
      checkpoint: checkpoint, patches: patches, provenance: [:], name: destination.name
    ).patchSet()
  }

  /// The files beside the weights, as bytes; for the prototype routers, the configuration with its
  /// keys; for the prototype form, the modelling files too.
  private func sideFiles() throws(RegateError) -> [OutputFile] {
    guard destination.isDirectory, let checkpoint = model.checkpoint as? SafetensorsCheckpoint
    else { return [] }
    let prototype = patches.contains { if case .prototype = $0.router { true } else { false } }
    let official = patches.contains { if case .official = $0.router { true } else { false } }
    var files: [OutputFile] = []
    // Nothing to say about an output in which nothing changed.
    let carded = !patches.isEmpty
    let own = [destination.manifestName, UndoFile.directoryName]
    for name in checkpoint.sideFiles where !own.contains(name) {
      if carded, name == ModelCard.fileName { continue }
      if prototype, PrototypeModelling.files[name] != nil { continue }
      if name == "config.json", prototype || official, let config = checkpoint.config {
        let family = model.layout.family
        let patched =
          prototype
          ? try PrototypeConfig.patched(config, family: family, layers: patches)
          : try OfficialConfig.patched(config, family: family, layers: patches)
        files.append(OutputFile(name: name, segments: [.bytes(patched.serialised(.pretty))]))
        continue
      }
      let file = try MappedFile(path: checkpoint.directory + "/" + name)
      files.append(OutputFile(name: name, segments: [.range(file, 0..<file.count)]))
    }
    if prototype {
      files += PrototypeModelling.files.map {
        OutputFile(name: $0.key, segments: [.bytes($0.value)])
      }
    }
    if carded {
      files.append(try ModelCard(manifest: manifest, form: form).file(beside: checkpoint))
    }
    return files
  }

  private func verify(
    stage: String, _ contents: Contents
  ) throws(RegateError) -> Verification.Result {
    let output: any Checkpoint
    let files = contents.weights
    switch model.checkpoint {
    case is GGUFCheckpoint: output = try GGUFCheckpoint(path: stage + "/" + files[0].name)
    default:
      output = try SafetensorsCheckpoint(
        path: destination.isDirectory ? stage : stage + "/" + files[0].name)
    }
    return try Verification(
      original: model.checkpoint, output: output, patches: patches, added: contents.added,
      progress: progress
    ).run()
  }

  /// The manifest with size and SHA-256 of every file.
  private func hashed(_ files: [OutputFile], in stage: String) throws(RegateError) -> JSONValue {
    progress.begin("Hashing", total: files.reduce(0) { $0 + $1.byteCount })
    let digests = mapBlocks(count: files.count, blockSize: 1, threads: threads) { index, _ in
      Result { () throws(RegateError) -> JSONValue in
        let file = try MappedFile(path: stage + "/" + files[index].name)
        return [
          "name": .string(files[index].name), "bytes": .integer(file.count),
          "sha256": .string(file.sha256 { progress.advance($0) }),
        ]
      }
    }
    progress.end()
    var list: [JSONValue] = []
    for digest in digests { list.append(try digest.get()) }
    return listing(list)
  }

  /// The manifest with its list of files.
  func listing(_ files: [JSONValue]) -> JSONValue {
    var json = manifest
    json["files"] = .array(files)
    return json
  }
}

extension MappedFile {
  /// SHA-256 of the whole file in hexadecimal; `progress` gets the bytes done since its last call.
  func sha256(progress: (Int) -> Void = { _ in }) -> String {
    [Segment.range(self, 0..<count)].sha256(progress: progress)
  }
}
