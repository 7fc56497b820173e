// SPDX-License-Identifier: Apache-2.0
//
// The files of a patched safetensors checkpoint. A shard whose tensors keep their names, dtypes and
// shapes keeps its header and differs only in the patched ranges. A shard that loses or widens a
// tensor gets a new header. The prototype router's tensors go into one added shard.

package import ByteStorage
package import Checkpoints
import Forms
import OrderedCollections
import Routing
import Tensors

package struct SafetensorsOutput: CheckpointWriter {
  /// File name of the shard that holds the prototype routers.
  package static let routerShard = "model-regate-router.safetensors"
  /// Name that a single `model.safetensors` takes when a second shard comes beside it: readers
  /// prefer a file of the old name to an index.
  package static let onlyShard = "model-00001-of-00001.safetensors"

  package let checkpoint: SafetensorsCheckpoint
  package let patches: [LayerPatch]
  /// Name of an output that is a single file; nil for a directory, whose files keep theirs.
  package let fileName: String?

  /// Tensors that the original has not; none for the stock form.
  private var added: [SafetensorsWriter.Tensor] { patches.flatMap(\.router.added) }

  /// The ranges that change in shards that are not laid out anew; `changes` are the router tensors'
  /// by name, of which those that keep their layout are among the ranges.
  private func patchSet(
    _ changes: [String: TensorChange], _ relaid: RelaidTensors, _ renames: [String: String]
  ) throws(RegateError) -> PatchSet {
    var bytes = PatchSet(files: checkpoint.files.count)
    for patch in patches { try patch.addExperts(to: &bytes, of: checkpoint, renaming: true) }
    for change in changes.values where change.keepsLayout {
      guard let replacement = change.replacement else { continue }
      bytes.replace(change.tensor, by: .bytes(replacement.bytes))
    }
    for (index, part) in checkpoint.parts.enumerated() where !relaid.touches(part) {
      guard let header = try renamedHeader(of: part, renames), header.count == part.dataStart else {
        continue
      }
      bytes.replace(0..<part.dataStart, ofFile: index, by: .bytes(header))
    }
    return bytes
  }

  private var routerChanges: [String: TensorChange] {
    var changes: [String: TensorChange] = [:]
    for patch in patches {
      for change in patch.router.changes { changes[change.tensor.name] = change }
    }
    return changes
  }

  /// New names of renumbered tensors, by old name.
  private var renames: [String: String] {
    patches.reduce(into: [:]) { $0.merge($1.renames) { first, _ in first } }
  }

  /// The ranges that change where the files stay the same files: refused where a header or the
  /// index would have to grow.
  package func inPlace() throws(RegateError) -> PatchSet {
    let changes = routerChanges
    let renames = renames
    func refused(_ subject: String, _ problem: String) -> RegateError {
      RegateError(
        .refused, file: checkpoint.path, subject: subject, "\(problem), which needs new files",
        advice: "write a copy or a delta instead of changing it in place")
    }
    let widened = changes.values.filter { !$0.keepsLayout }.min { $0.tensor.name < $1.tensor.name }
    if let widened {
      throw refused(
        widened.tensor.name, "is stored as \(widened.tensor.type.rawValue) and must become F32")
    }
    for (old, new) in renames.sorted(by: { $0.key < $1.key })
    where try checkpoint.tensor(old).file != checkpoint.tensor(new).file {
      throw refused(old, "the experts of its layer lie in several shards, so the index changes")
    }
    for part in checkpoint.parts {
      guard let header = try renamedHeader(of: part, renames) else { continue }
      guard header.count == part.dataStart else {
        throw refused(part.file.path.lastPathComponent, "its header would become longer")
      }
    }
    return try patchSet(changes, RelaidTensors(patches, of: checkpoint), renames)
  }

  /// The shards, and the index where there is one.
  package func files() throws(RegateError) -> [OutputFile] {
    let relaid = RelaidTensors(patches, of: checkpoint)
    let renames = renames
    let bytes = try patchSet(routerChanges, relaid, renames)
    var files: [OutputFile] = []
    for (index, part) in checkpoint.parts.enumerated() {
      // A shard of nothing but what is left out goes as a whole.
      if part.tensors.allSatisfy({ relaid.leftOut.contains($0.name) }), !part.tensors.isEmpty {
        continue
      }
      if relaid.touches(part) {
        files.append(
          try rewritten(part, index: index, relaid: relaid, renames: renames, patches: bytes))
        continue
      }
      let header = try renamedHeader(of: part, renames).flatMap {
        $0.count == part.dataStart ? nil : $0
      }
      var file = OutputFile(name: name(ofPart: index), head: header?.count ?? part.dataStart)
      if let header { file.append([.bytes(header)]) }
      let start = header == nil ? 0 : part.dataStart
      file.append(bytes.segments(of: part.file, index: index, range: start..<part.file.count))
      files.append(file)
    }
    if !added.isEmpty { files.append(try routerFile()) }
    if let index = try index(relaid: relaid, renames: renames) {
      files.append(
        OutputFile(name: SafetensorsIndex.fileName, segments: [.bytes(index.serialised(.python))]))
    }
    return files
  }

  package func sideFiles(_ own: OwnFiles) throws(RegateError) -> [OutputFile] {
    guard fileName == nil else { return [] }
    var files: [OutputFile] = []
    for name in checkpoint.sideFiles where own.made[name] == nil && !own.leftOut.contains(name) {
      if own.manifest != nil, name == ModelCard.fileName { continue }
      let file = try MappedFile(path: checkpoint.directory + "/" + name)
      files.append(OutputFile(name: name, segments: [.range(file, 0..<file.count)]))
    }
    files += own.made.map { OutputFile(name: $0.key, segments: [.bytes($0.value)]) }
    if let manifest = own.manifest {
      files.append(try ModelCard.file(telling: manifest, beside: checkpoint))
    }
    return files
  }

  package func open(in folder: String) throws(RegateError) -> any Checkpoint {
    try SafetensorsCheckpoint(path: fileName.map { folder + "/" + $0 } ?? folder)
  }

  private func name(ofPart index: Int) -> String {
    if let fileName { return fileName }
    let name = checkpoint.partNames[index]
    return name == "model.safetensors" && !added.isEmpty ? SafetensorsOutput.onlyShard : name
  }

  /// The header of a part with renumbered tensors, all at their places, as long as the old one
  /// where it fits in; nil where none is renumbered.
  private func renamedHeader(
    of part: SafetensorsFile, _ renames: [String: String]
  ) throws(RegateError) -> [UInt8]? {
    guard part.tensors.contains(where: { renames[$0.name] != nil }) else { return nil }
    let header = try SafetensorsHeader(
      part.tensors.map { (renames[$0.name] ?? $0.name, $0.type, $0.shape) },
      metadata: part.metadata, order: .given
    ).serialised()
    guard header.count < part.dataStart else { return header }
    let text = header[8...] + repeatElement(0x20, count: part.dataStart - header.count)
    return UInt64(text.count).littleEndianBytes + text
  }

  private func rewritten(
    _ part: SafetensorsFile, index: Int, relaid: RelaidTensors,
    renames: [String: String], patches: PatchSet
  ) throws(RegateError) -> OutputFile {
    var kept: [String: TensorInfo] = [:]
    for tensor in part.tensors where !relaid.leftOut.contains(tensor.name) {
      kept[renames[tensor.name] ?? tensor.name] = tensor
    }
    let header = try SafetensorsHeader(
      kept.map { name, tensor in
        let new = relaid.changed[tensor.name]
        return (name, new?.type ?? tensor.type, new?.shape ?? tensor.shape)
      },
      metadata: part.metadata)
    let head = try header.serialised()
    var file = OutputFile(name: name(ofPart: index), head: head.count, segments: [.bytes(head)])
    for entry in header.entries {
      guard let tensor = kept[entry.name] else { continue }
      if let new = relaid.changed[tensor.name] {
        file.append(new.contents)
      } else {
        file.append(patches.segments(of: part.file, index: index, range: tensor.range))
      }
    }
    return file
  }

  private func routerFile() throws(RegateError) -> OutputFile {
    let header = try SafetensorsHeader(
      added.map { ($0.name, $0.type, $0.shape) }, metadata: ["format": "pt"])
    let bytes = Dictionary(uniqueKeysWithValues: added.map { ($0.name, $0.bytes) })
    let head = try header.serialised()
    return OutputFile(
      name: SafetensorsOutput.routerShard, head: head.count,
      segments: [.bytes(head)] + header.entries.map { .bytes(bytes[$0.name] ?? []) })
  }

  /// The index of the output; nil where original and output are a single file. Everything that
  /// the original's index says beside sizes and places stays.
  private func index(
    relaid: RelaidTensors, renames: [String: String]
  ) throws(RegateError) -> JSONValue? {
    guard checkpoint.index != nil || !added.isEmpty else { return nil }
    var json = checkpoint.index?.raw ?? .object([:])
    var places: OrderedDictionary<String, JSONValue> = [:]
    var total = 0
    var parameters = 0
    for (index, part) in checkpoint.parts.enumerated() {
      // Of a tensor that is in two shards, that in the later one counts.
      for tensor in part.tensors where checkpoint.tensors[tensor.name]?.file == index {
        guard !relaid.leftOut.contains(tensor.name) else { continue }
        let new = relaid.changed[tensor.name]
        total += new?.byteCount ?? tensor.range.count
        parameters += new?.shape.reduce(1, *) ?? tensor.elementCount
        places[renames[tensor.name] ?? tensor.name] = .string(name(ofPart: index))
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
