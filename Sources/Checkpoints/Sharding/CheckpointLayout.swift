// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import OrderedCollections
import Tensors

/// Which files make up a safetensors checkpoint, decided as transformers does:
///
/// 1. a file: that file;
/// 2. a directory with `model.safetensors`: that file, even if there is an index too;
/// 3. a directory with `model.safetensors.index.json`: the shards that it names;
/// 4. otherwise every `.safetensors` file of the directory, as vLLM reads it.
struct CheckpointLayout {
  let path: String
  let directory: String
  private(set) var partNames: [String] = []
  private(set) var index: SafetensorsIndex?
  private(set) var sideFiles: [String] = []
  private(set) var otherWeights: [String] = []
  private(set) var warnings: [String] = []

  private static let singleName = "model.safetensors"
  private static let configName = "config.json"

  init(path: String) throws(RegateError) {
    self.path = path
    if CheckpointDirectory.isDirectory(path) {
      var directory = path
      while directory.count > 1, directory.hasSuffix("/") { directory.removeLast() }
      self.directory = directory
      let listing = try CheckpointDirectory(path: directory)
      try chooseParts(listing)
      sortOthers(listing)
    } else {
      let slash = path.lastIndex(of: "/")
      directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ""
      partNames = [slash.map { String(path[path.index(after: $0)...]) } ?? path]
      try chooseNeighbours()
    }
  }

  private mutating func chooseParts(_ listing: CheckpointDirectory) throws(RegateError) {
    let hasIndex = listing.fileNames.contains(SafetensorsIndex.fileName)
    if listing.fileNames.contains(CheckpointLayout.singleName) {
      partNames = [CheckpointLayout.singleName]
      if hasIndex {
        warnings.append(
          "\(CheckpointLayout.singleName) and \(SafetensorsIndex.fileName) are both there: the "
            + "single file is read, as transformers does, and the index is ignored")
      }
    } else if hasIndex {
      let index = try SafetensorsIndex(path: join(SafetensorsIndex.fileName))
      warnings += [index.warning].compactMap { $0 }
      partNames = index.fileNames
      self.index = index
    } else {
      partNames = listing.safetensors
      guard !partNames.isEmpty else { throw noTensors(listing) }
      try requireAllShards()
    }
  }

  private func noTensors(_ listing: CheckpointDirectory) -> RegateError {
    func missing(_ advice: String) -> RegateError {
      RegateError(.missing, file: path, "holds no .safetensors files", advice: advice)
    }
    guard let other = listing.fileNames.first(where: CheckpointDirectory.holdsWeights) else {
      return missing("give the directory that holds the model's weights")
    }
    guard other.pathExtension == "safetensors" else {
      return missing("it holds \(other): give that file, or convert it to safetensors")
    }
    // As in the cache of the Hugging Face hub, above `snapshots`.
    return missing("it holds \(other): give the folder \(join(other.directory))")
  }

  /// Without an index, a missing shard shows only in the names `<prefix>-<n>-of-<total>`.
  private func requireAllShards() throws(RegateError) {
    var present: [String: Set<Int>] = [:]
    var totals: [String: Int] = [:]
    for name in partNames {
      guard let match = name.wholeMatch(of: /(.*)-([0-9]{1,9})-of-([0-9]{1,9})\.safetensors/),
        let number = Int(match.2), let total = Int(match.3)
      else { continue }
      let series = "\(match.1)-of-\(match.3)"
      present[series, default: []].insert(number)
      totals[series] = total
    }
    for (series, total) in totals.sorted(by: { $0.key < $1.key }) {
      let found = present[series] ?? []
      guard found.count < total else { continue }
      let missing = (1...total).first { !found.contains($0) } ?? total
      throw RegateError(
        .missing, file: path, subject: series,
        "holds \(found.count) of \(total) shards; number \(missing) is not there",
        advice: "fetch the missing shards")
    }
  }

  /// What lies around a single file is part of a model only if a configuration is there.
  private mutating func chooseNeighbours() throws(RegateError) {
    guard CheckpointDirectory.isRegularFile(path),
      CheckpointDirectory.isRegularFile(join(CheckpointLayout.configName))
    else { return }
    sortOthers(try CheckpointDirectory(path: directory.isEmpty ? "." : directory))
    let indexPath = join(SafetensorsIndex.fileName)
    guard partNames != [CheckpointLayout.singleName],
      CheckpointDirectory.isRegularFile(indexPath)
    else { return }
    let named = try SafetensorsIndex(path: indexPath).fileNames
    if named.count > 1, named.contains(partNames[0]) {
      warnings.append(
        "\(partNames[0]) is one of \(named.count) shards: give its directory to read them all")
    }
  }

  private mutating func sortOthers(_ listing: CheckpointDirectory) {
    let own = Set(partNames + [SafetensorsIndex.fileName])
    let others = listing.fileNames.filter { !own.contains($0) }
    otherWeights = others.filter(CheckpointDirectory.holdsWeights)
    sideFiles = others.filter { !CheckpointDirectory.holdsWeights($0) }
    if let first = otherWeights.first {
      let rest = otherWeights.count > 1 ? " and \(otherWeights.count - 1) more files" : ""
      warnings.append("\(first)\(rest): weights that are no part of this checkpoint are ignored")
    }
  }

  // MARK: Reading

  func join(_ name: String) -> String {
    directory.isEmpty || directory == "/" ? directory + name : directory + "/" + name
  }

  func open(_ name: String, index: Int) throws(RegateError) -> SafetensorsFile {
    let path = join(name)
    guard CheckpointDirectory.isRegularFile(path) || self.index == nil else {
      throw RegateError(
        .missing, file: path, "is named in \(SafetensorsIndex.fileName), but is not there",
        advice: "fetch the missing shard")
    }
    return try SafetensorsFile(path: path, index: index)
  }

  /// The tensors of all parts. Of two of one name in indexed shards the one in the later shard
  /// counts, as in transformers; without an index they may be of two models.
  mutating func collect(
    _ parts: [SafetensorsFile]
  ) throws(RegateError) -> OrderedDictionary<String, TensorInfo> {
    let count = parts.reduce(0) { $0 + $1.tensors.count }
    var holders: [String: Int] = Dictionary(minimumCapacity: count)
    var repeated: [String] = []
    for part in parts {
      for tensor in part.tensors {
        guard let other = holders.updateValue(tensor.file, forKey: tensor.name) else { continue }
        guard index != nil else {
          throw RegateError(
            .mismatch, file: part.file.path, subject: tensor.name,
            "the same tensor is also in \(partNames[other])",
            advice: "remove the shard that does not belong to the checkpoint")
        }
        repeated.append("\(tensor.name) in \(partNames[other]) and \(partNames[tensor.file])")
      }
    }
    var tensors = OrderedDictionary<String, TensorInfo>(minimumCapacity: holders.count)
    for tensor in parts.lazy.flatMap(\.tensors) where holders[tensor.name] == tensor.file {
      tensors[tensor.name] = tensor
    }
    if let first = repeated.first {
      let more = repeated.count > 1 ? ", and \(repeated.count - 1) more" : ""
      warnings.append(
        "two shards hold the same tensor (\(first)\(more)): that in the later shard is read, as"
          + " transformers does")
    }
    return tensors
  }

  mutating func readConfig() throws(RegateError) -> JSONValue? {
    let path = join(CheckpointLayout.configName)
    guard CheckpointDirectory.exists(path) else { return nil }
    let config = try LenientJSON(contentsOf: path)
    guard config.value.objectValue != nil else {
      throw RegateError(.malformed, file: path, "must be an object, not \(config.value.kindName)")
    }
    warnings += [config.warning].compactMap { $0 }
    return config.value
  }
}
