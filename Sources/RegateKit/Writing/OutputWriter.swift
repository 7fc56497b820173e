// SPDX-License-Identifier: Apache-2.0
//
// Builds a whole output beside its destination, verifies it there against the original, and only
// then lets it take its name.

import Architectures
import ByteStorage
import Checkpoints
import Crypto
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
  let progress: any ProgressSink

  /// What was written.
  struct Summary: Sendable {
    let files: [String]
    let byteCount: Int
    let identicalTensors: Int
    let changedTensors: Int
  }

  func write(overwrite: Bool) throws(RegateError) -> Summary {
    let added = try nativeTensors()
    let files = try weightFiles(added: added)
    let byteCount = files.reduce(0) { $0 + $1.byteCount }
    try requireSpace(byteCount)
    try destination.requireReplaceable()
    let sides = try sideFiles()
    let manifestName = destination.manifestName
    let stage = try StagedOutput(
      destination: destination.folder,
      kind: destination.isDirectory
        ? .directory : .files(files.map(\.name) + [manifestName]),
      overwrite: overwrite)

    progress.begin("Writing", total: byteCount)
    for file in files + sides {
      try file.write(to: stage.path(file.name)) { progress.advance($0) }
    }
    progress.end()
    let verified = try verify(stage: stage.stage, files: files, added: added)
    let json = try hashed(files + sides, in: stage.stage)
    try OutputFile(name: manifestName, segments: [.bytes(json.serialised(.pretty))])
      .write(to: stage.path(manifestName)) { _ in }
    try stage.commit()
    return Summary(
      files: (files + sides).map(\.name) + [manifestName], byteCount: byteCount,
      identicalTensors: verified.identicalTensors, changedTensors: verified.changedTensors)
  }

  private func nativeTensors() throws(RegateError) -> [NativeTensor] {
    var tensors: [NativeTensor] = []
    for patch in patches {
      guard case .native(let router) = patch.router else { continue }
      tensors += try NativeRouterFormat.tensors(of: router, gate: patch.layer.gate.name)
    }
    return tensors
  }

  private func weightFiles(added: [NativeTensor]) throws(RegateError) -> [OutputFile] {
    if let checkpoint = model.checkpoint as? SafetensorsCheckpoint {
      return try SafetensorsOutput(
        checkpoint: checkpoint, patches: patches, added: added,
        fileName: destination.isDirectory ? nil : destination.name
      ).files()
    }
    guard let checkpoint = model.checkpoint as? GGUFCheckpoint else { return [] }
    let provenance: OrderedDictionary<String, GGUFValue> = [
      "regate.version": .string(RegateVersion.current),
      "regate.router": .string(form.rawValue),
      "regate.source": .string(model.checkpoint.path.lastPathComponent),
    ]
    return try GGUFOutput(
      checkpoint: checkpoint, patches: patches, provenance: provenance, name: destination.name
    ).files()
  }

  /// The files beside the weights, as bytes; for the native form, the configuration with its keys
  /// and the modelling files.
  private func sideFiles() throws(RegateError) -> [OutputFile] {
    guard destination.isDirectory, let checkpoint = model.checkpoint as? SafetensorsCheckpoint
    else { return [] }
    let native = form == .lpr && !patches.isEmpty
    var files: [OutputFile] = []
    for name in checkpoint.sideFiles where name != destination.manifestName {
      if native, NativeModelling.files[name] != nil { continue }
      if name == "config.json", native, let config = checkpoint.config {
        let patched = try NativeConfig.patched(
          config, family: model.layout.family, layers: patches)
        files.append(OutputFile(name: name, segments: [.bytes(patched.serialised(.pretty))]))
        continue
      }
      let file = try MappedFile(path: checkpoint.directory + "/" + name)
      files.append(OutputFile(name: name, segments: [.range(file, 0..<file.count)]))
    }
    if native {
      files += NativeModelling.files.map { OutputFile(name: $0.key, segments: [.bytes($0.value)]) }
    }
    return files
  }

  private func requireSpace(_ byteCount: Int) throws(RegateError) {
    guard let free = Volume.freeBytes(near: destination.folder), free < byteCount else { return }
    throw RegateError(
      .io, file: destination.folder,
      "the output needs \(byteCount) bytes, but the volume has \(free) left",
      advice: "free some space or choose another volume")
  }

  private func verify(
    stage: String, files: [OutputFile], added: [NativeTensor]
  ) throws(RegateError) -> Verification.Result {
    let output: any Checkpoint
    switch model.checkpoint {
    case is GGUFCheckpoint: output = try GGUFCheckpoint(path: stage + "/" + files[0].name)
    default:
      output = try SafetensorsCheckpoint(
        path: destination.isDirectory ? stage : stage + "/" + files[0].name)
    }
    return try Verification(
      original: model.checkpoint, output: output, patches: patches, added: added,
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
    var json = manifest
    json["files"] = .array(list)
    return json
  }
}

extension MappedFile {
  /// SHA-256 of the whole file in hexadecimal; `progress` gets the bytes done since its last call.
  func sha256(progress: (Int) -> Void = { _ in }) -> String {
    let chunk = 16 << 20
    var hash = SHA256()
    var position = 0
    while position < count {
      let range = position..<min(position + chunk, count)
      withBytes(in: range) { hash.update(bufferPointer: $0) }
      discard(range)
      progress(range.count)
      position = range.upperBound
    }
    return hash.finalize().map { String(format: "%02x", $0) }.joined()
  }
}
