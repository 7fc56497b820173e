// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections

/// What a configuration says of how its weights are quantised. The tensors tell everything else.
package struct QuantisationScheme: Sendable {
  /// Rows and columns of a weight that share one scale.
  package struct Block: Sendable, Hashable {
    package let rows: Int
    package let columns: Int
  }

  /// `quant_method`, or mlx; nil where nothing is said.
  package let method: String?
  /// `weight_block_size`: of every scale grid.
  package let block: Block?
  /// The blocks and groups that the parts of `config_groups` have (compressed-tensors).
  let groups: [Block]

  /// Of a GGUF file, whose types say everything.
  static let none = QuantisationScheme(method: nil, block: nil, groups: [])

  /// The scheme's name for an error, in brackets.
  var words: String { method.map { " (quantised by \($0))" } ?? "" }
}

extension QuantisationScheme {
  /// From `quantization_config` (Hugging Face), or MLX's `quantization`, in the first of `objects`
  /// that has it.
  init(in objects: [JSONValue], file: String) throws(RegateError) {
    // MLX writes its object under Hugging Face's key too.
    if objects.contains(where: { $0["quantization"]?.objectValue != nil }) {
      self.init(method: "mlx", block: nil, groups: [])
      return
    }
    let found = objects.lazy.compactMap {
      let value = $0["quantization_config"] ?? $0["compression_config"]
      return value?.objectValue == nil ? nil : value
    }.first
    guard let found else {
      self = .none
      return
    }
    self.init(
      method: found["quant_method"]?.stringValue ?? "unnamed",
      block: try Self.block(found["weight_block_size"], file: file), groups: Self.groups(found))
  }

  private static func block(
    _ value: JSONValue?, file: String
  ) throws(RegateError) -> Block? {
    guard let value, !value.isNull else { return nil }
    guard let block = pair(value) else {
      throw RegateError(
        .malformed, file: file, subject: "quantization_config.weight_block_size",
        "expected two whole numbers above 0, such as [128, 128]")
    }
    return block
  }

  private static func pair(_ value: JSONValue) -> Block? {
    let sizes = value.arrayValue?.compactMap(\.intValue) ?? []
    guard sizes.count == 2, sizes.allSatisfy({ $0 > 0 && $0 <= Settings.limit }) else { return nil }
    return Block(rows: sizes[0], columns: sizes[1])
  }

  private static func groups(_ config: JSONValue) -> [Block] {
    let groups = config["config_groups"]?.objectValue?.values.compactMap { $0["weights"] } ?? []
    return groups.compactMap { weights in
      if let block = weights["block_structure"].flatMap(pair) { return block }
      guard let size = weights["group_size"]?.intValue, size > 0 else { return nil }
      return Block(rows: 1, columns: size)
    }
  }
}
