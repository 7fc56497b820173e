// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import OrderedCollections

/// Every tensor of a checkpoint by the module that its name is in.
package struct ModuleIndex: Sendable {
  private let checkpoint: any Checkpoint
  /// In the order of their bytes, so that a module's names follow one another.
  private let names: [String]

  package init(_ checkpoint: any Checkpoint) {
    self.checkpoint = checkpoint
    names = checkpoint.tensors.keys.sorted { Self.precedes($0, $1) }
  }

  private static func precedes(_ first: String, _ second: String) -> Bool {
    first.utf8.lexicographicallyPrecedes(second.utf8)
  }

  /// The tensors whose names are `module`, a dot and a suffix, with that suffix.
  package func tensors(of module: String) -> [(suffix: String, tensor: TensorInfo)] {
    let prefix = module + "."
    var (low, high) = (0, names.count)
    while low < high {
      let middle = low + (high - low) / 2
      if Self.precedes(names[middle], prefix) { low = middle + 1 } else { high = middle }
    }
    return names[low...].prefix { $0.utf8.starts(with: prefix.utf8) }.compactMap { name in
      checkpoint.tensors[name].map { (String(name.dropFirst(prefix.count)), $0) }
    }
  }

  /// The weight of `module` with what stands beside it; nil where there is none. Throws where it is
  /// stored in pieces, or something beside it is not understood.
  package func weight(
    of module: String, scheme: QuantisationScheme
  ) throws(RegateError) -> StoredWeight? {
    let tensors = tensors(of: module)
    let places = Companion.weights.lazy.compactMap { suffix in
      tensors.firstIndex { $0.suffix == suffix }
    }
    guard let place = places.first else {
      let pieces = tensors.map(\.suffix).filter {
        [.uncomputed, .unknown].contains(Companion(suffix: $0))
      }
      guard let first = pieces.first else { return nil }
      let (meaning, advice) = Companion.refusal(pieces.first { $0.contains("weight") } ?? first)
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: "\(module).weight",
        "is not there, but \(pieces.prefix(4).joined(separator: ", ")) in its place: what"
          + " \(meaning)\(scheme.words)", advice: advice)
    }
    let beside = tensors.indices.filter { $0 != place }
    return try StoredWeight(
      TensorSlice(tensors[place].tensor), suffix: tensors[place].suffix,
      beside: beside.map { (tensors[$0].suffix, TensorSlice(tensors[$0].tensor)) },
      in: checkpoint, scheme: scheme)
  }
}
