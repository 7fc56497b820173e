// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Tensors

/// The expert tensors of one layer, collected by part and then verified: every expert has every
/// part, and the matrices have the shapes that the configuration asks for.
struct ExpertParts {
  private struct Name: Hashable {
    let stem: String
    let suffix: String
    let isFused: Bool
  }

  private struct Entry {
    let role: ExpertPart.Role
    var tensors: [Int: TensorInfo] = [:]
  }

  /// What verification needs to know.
  struct Finder {
    let file: String
    let layerName: String
    let names: Naming
    /// E, H, I.
    let experts: Int
    let hiddenSize: Int
    let width: Int
  }

  private var entries: OrderedDictionary<Name, Entry> = [:]

  /// Adds expert `expert`'s tensor, or one of all experts.
  mutating func add(
    _ tensor: TensorInfo, expert: Int?, stem: String, suffix: String, role: ExpertPart.Role
  ) {
    let name = Name(stem: stem, suffix: suffix, isFused: expert == nil)
    entries[name, default: Entry(role: role)].tensors[expert ?? 0] = tensor
  }

  /// The parts, in the order gate, up, gate and up, down, others; and what no expert owns.
  func verified(
    _ finder: Finder
  ) throws(RegateError) -> (parts: [ExpertPart], unplaced: [TensorInfo]) {
    var found: [(part: ExpertPart, expected: [Int]?)] = []
    var unplaced: [TensorInfo] = []
    for (name, entry) in entries {
      let storage: ExpertPart.Storage
      if name.isFused {
        guard let tensor = entry.tensors[0] else { continue }
        // A single value, such as one input scale for all experts, is the same for every clone.
        if tensor.elementCount == 1, finder.experts > 1 { continue }
        guard finder.isDivisible(tensor) else {
          let kind = Self.kind(name.suffix, tensor.type)
          if entry.role != .other, kind == .weight { throw finder.wrongCount(tensor) }
          unplaced.append(tensor)
          continue
        }
        storage = .fused(tensor)
      } else {
        storage = .separate(try finder.complete(entry.tensors, name.stem, name.suffix))
      }
      let full = name.suffix.isEmpty ? name.stem : "\(name.stem).\(name.suffix)"
      let type = entry.tensors.values.first?.type ?? .f32
      let part = ExpertPart(
        role: entry.role, kind: Self.kind(name.suffix, type, role: entry.role), name: full,
        suffix: name.suffix, experts: finder.experts, storage: storage, transposed: false)
      found.append((part, part.kind == .weight ? finder.shape(of: entry.role) : nil))
    }
    try finder.requireMatrices(found.map(\.part))
    let transposed = try finder.isTransposed(found)
    let order = ExpertPart.Role.allCases
    let parts = found.map { transposed ? $0.part.transposedStorage : $0.part }
    return (
      order.flatMap { role in parts.filter { $0.role == role } },
      unplaced.sorted { $0.name < $1.name }
    )
  }

  /// What a part is: integers under a matrix's name are a packed matrix.
  private static func kind(
    _ suffix: String, _ type: ElementType, role: ExpertPart.Role = .gate
  ) -> ExpertPart.Kind {
    let kind = ExpertPart.Kind.of(suffix: suffix)
    guard role != .other else { return .companion }
    let integers: [ElementType] = [.u8, .i8, .u16, .i16, .u32, .i32, .u64, .i64, .bool]
    return kind == .weight && integers.contains(type) ? .packedWeight : kind
  }
}

extension ExpertPart {
  fileprivate var transposedStorage: ExpertPart {
    guard case .fused = storage, role != .other else { return self }
    return ExpertPart(
      role: role, kind: kind, name: name, suffix: suffix, experts: experts, storage: storage,
      transposed: true)
  }
}
