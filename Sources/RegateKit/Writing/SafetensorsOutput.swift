// SPDX-License-Identifier: Apache-2.0
//
// The files of a patched safetensors checkpoint. A shard whose tensors keep their names, dtypes and
// shapes keeps its header and differs only in the patched ranges. A shard that loses or widens a
// tensor gets a new header. The native router's tensors go into one added shard.

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors

struct SafetensorsOutput {
  /// File name of the shard that holds the native routers.
  static let routerShard = "model-regate-router.safetensors"
  /// Name that a single `model.safetensors` takes when a second shard comes beside it: readers
  /// prefer a file of the old name to an index.
  static let onlyShard = "model-00001-of-00001.safetensors"

  let checkpoint: SafetensorsCheckpoint
  let patches: [LayerPatch]
  /// Tensors of the native form, by full name; empty for the stock form.
  let added: [NativeTensor]
  /// Name of an output that is a single file; nil for a directory, whose files keep theirs.
  let fileName: String?

  /// The shards, and the index where there is one.
  func files() throws(RegateError) -> [OutputFile] {
    var bytes = PatchSet(files: checkpoint.files.count)
    var changes: [String: TensorChange] = [:]
    for patch in patches {
      try patch.addExperts(to: &bytes, of: checkpoint)
      for change in try patch.routerChanges() {
        changes[change.tensor.name] = change
        if change.keepsLayout, let replacement = change.replacement {
          bytes.replace(change.tensor, by: .bytes(replacement.bytes))
        }
      }
    }
    var files: [OutputFile] = []
    for (index, part) in checkpoint.parts.enumerated() {
      let relaid = part.tensors.contains { !(changes[$0.name]?.keepsLayout ?? true) }
      files.append(
        relaid
          ? try rewritten(part, index: index, changes: changes, patches: bytes)
          : OutputFile(
            name: name(ofPart: index),
            segments: bytes.segments(of: part.file, index: index, range: 0..<part.file.count)))
    }
    if !added.isEmpty { files.append(try routerFile()) }
    if let index = try index(changes: changes) {
      files.append(
        OutputFile(name: SafetensorsIndex.fileName, segments: [.bytes(index.serialised(.pretty))]))
    }
    return files
  }

  private func name(ofPart index: Int) -> String {
    if let fileName { return fileName }
    let name = checkpoint.partNames[index]
    return name == "model.safetensors" && !added.isEmpty ? SafetensorsOutput.onlyShard : name
  }

  private func rewritten(
    _ part: SafetensorsFile, index: Int, changes: [String: TensorChange], patches: PatchSet
  ) throws(RegateError) -> OutputFile {
    let kept = part.tensors.filter { changes[$0.name].map { $0.replacement != nil } ?? true }
    let header = try SafetensorsHeader(
      kept.map { ($0.name, changes[$0.name]?.replacement?.type ?? $0.type, $0.shape) },
      metadata: part.metadata)
    var file = OutputFile(name: name(ofPart: index), segments: [.bytes(try header.serialised())])
    for entry in header.entries {
      if let change = changes[entry.name], !change.keepsLayout, let new = change.replacement {
        file.append([.bytes(new.bytes)])
      } else {
        let range = try checkpoint.tensor(entry.name).range
        file.append(patches.segments(of: part.file, index: index, range: range))
      }
    }
    return file
  }

  private func routerFile() throws(RegateError) -> OutputFile {
    let header = try SafetensorsHeader(
      added.map { ($0.name, $0.type, $0.shape) }, metadata: ["format": "pt"])
    let bytes = Dictionary(uniqueKeysWithValues: added.map { ($0.name, $0.bytes) })
    return OutputFile(
      name: SafetensorsOutput.routerShard,
      segments: [.bytes(try header.serialised())]
        + header.entries.map { .bytes(bytes[$0.name] ?? []) })
  }

  /// The index of the output; nil where original and output are a single file. Everything that
  /// the original's index says beside sizes and places stays.
  private func index(changes: [String: TensorChange]) throws(RegateError) -> JSONValue? {
    guard checkpoint.index != nil || !added.isEmpty else { return nil }
    var json = checkpoint.index?.raw ?? .object([:])
    var places: OrderedDictionary<String, JSONValue> = [:]
    var total = 0
    var parameters = 0
    for (index, part) in checkpoint.parts.enumerated() {
      for tensor in part.tensors {
        guard let change = changes[tensor.name] else {
          total += tensor.range.count
          parameters += tensor.elementCount
          places[tensor.name] = .string(name(ofPart: index))
          continue
        }
        guard let new = change.replacement else { continue }
        total += new.bytes.count
        parameters += tensor.elementCount
        places[tensor.name] = .string(name(ofPart: index))
      }
    }
    for tensor in added {
      total += tensor.bytes.count
      parameters += tensor.shape.reduce(1, *)
      places[tensor.name] = .string(SafetensorsOutput.routerShard)
    }
    places.sort { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    var metadata = json["metadata"] ?? .object([:])
    metadata["total_size"] = .integer(total)
    if metadata["total_parameters"] != nil { metadata["total_parameters"] = .integer(parameters) }
    json["metadata"] = metadata
    json["weight_map"] = .object(places)
    return json
  }
}
