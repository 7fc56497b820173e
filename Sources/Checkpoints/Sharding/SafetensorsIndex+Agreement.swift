// SPDX-License-Identifier: Apache-2.0

import OrderedCollections

extension SafetensorsIndex {
  /// Where the index says something else than the shards `partNames`, which hold `tensors`: a
  /// sentence for each kind of difference. transformers takes file names from the index, and what
  /// is in the files from the files.
  func disagreements(
    with tensors: OrderedDictionary<String, TensorInfo>, in partNames: [String]
  ) -> [String] {
    let absent = weightMap.filter { tensors[$0.key] == nil }
    let elsewhere = weightMap.filter { name, file in
      tensors[name].map { partNames[$0.file] != file } ?? false
    }
    let unnamed = tensors.keys.filter { weightMap[$0] == nil }
    let kinds = [
      Self.found(Array(absent.keys), "no shard holds"),
      Self.found(Array(elsewhere.keys), "lie in another shard than it says"),
      Self.found(Array(unnamed), "it does not name"),
    ].compactMap { $0 }
    var warnings: [String] = []
    if !kinds.isEmpty {
      warnings.append(
        "\(Self.fileName) does not agree with the shards: \(kinds.joined(separator: ", "));"
          + " tensors are read from where they are, as transformers does")
    }
    let size = tensors.values.reduce(0) { $0 + $1.range.count }
    // Where tensors differ, so does their size.
    if absent.isEmpty, unnamed.isEmpty, let total = totalSize, total != size {
      warnings.append(
        "\(Self.fileName) gives total_size \(total), but the tensors have \(size) bytes")
    }
    return warnings
  }

  private static func found(_ names: [String], _ what: String) -> String? {
    names.first.map {
      "\(names.count) tensor\(names.count == 1 ? "" : "s") \(what) (such as \($0))"
    }
  }
}
