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
    /// Nil: what its suffix says.
    let kind: ExpertPart.Kind?
    var tensors: [Int: TensorInfo] = [:]
  }

  /// What verification needs to know.
  struct Finder {
    let file: String
    let layerName: String
    let names: Naming
    /// E.
    let experts: Int
    /// The width of what experts read and write: H, unless they lie between two projections.
    let inputs: Int
    let isProjected: Bool
    /// I.
    let width: Int
    /// Whether experts have a gate matrix.
    let isGated: Bool
    /// Whether every matrix has a bias.
    let biases: Bool
    /// The name of the scales of the experts' outputs, where there must be some.
    let outputScale: String?
  }

  private var entries: OrderedDictionary<Name, Entry> = [:]

  /// Adds expert `expert`'s tensor, or one of all experts.
  mutating func add(
    _ tensor: TensorInfo, expert: Int?, stem: String, suffix: String, role: ExpertPart.Role,
    kind: ExpertPart.Kind? = nil
  ) {
    let name = Name(stem: stem, suffix: suffix, isFused: expert == nil)
    entries[name, default: Entry(role: role, kind: kind)].tensors[expert ?? 0] = tensor
  }

  /// What `verified` finds.
  struct Verified {
    /// In the order gate, up, gate and up, down, others.
    let parts: [ExpertPart]
    /// Single values that stand beside the matrices of all experts.
    let common: [ExpertPart]
    /// What no expert owns.
    let unplaced: [TensorInfo]
  }

  func verified(_ finder: Finder) throws(RegateError) -> Verified {
    var found: [(part: ExpertPart, expected: [Int]?)] = []
    var common: [ExpertPart] = []
    var unplaced: [TensorInfo] = []
    for (name, entry) in entries {
      let storage: ExpertPart.Storage
      if name.isFused {
        guard let tensor = entry.tensors[0] else { continue }
        if entry.kind == .outputScale { try finder.checkOutputScale(tensor) }
        // A single value, such as one scale for all experts, is the same for every clone.
        if tensor.elementCount == 1, finder.experts > 1, entry.kind == nil {
          let all = [TensorInfo](repeating: tensor, count: finder.experts)
          common.append(part(name, entry, finder, .separate(all)))
          continue
        }
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
      let part = part(name, entry, finder, storage)
      found.append((part, part.kind == .weight ? finder.storedShape(of: part) : nil))
    }
    try finder.requireMatrices(found.map(\.part))
    try finder.requireOutputScale(found.map(\.part))
    if finder.biases { try finder.requireBiases(found.map(\.part)) }
    let transposed = try finder.isTransposed(found)
    let order = ExpertPart.Role.allCases
    let parts = found.map { transposed ? $0.part.transposedStorage : $0.part }
    return Verified(
      parts: order.flatMap { role in parts.filter { $0.role == role } }, common: common,
      unplaced: unplaced.sorted { $0.name < $1.name })
  }

  private func part(
    _ name: Name, _ entry: Entry, _ finder: Finder, _ storage: ExpertPart.Storage
  ) -> ExpertPart {
    let type = entry.tensors.values.first?.type ?? .f32
    return ExpertPart(
      role: entry.role, kind: entry.kind ?? Self.kind(name.suffix, type, role: entry.role),
      name: name.suffix.isEmpty ? name.stem : "\(name.stem).\(name.suffix)", suffix: name.suffix,
      experts: finder.experts, storage: storage, transposed: false)
  }

  /// What a part is: integers under a matrix's name are a packed matrix, unless they are I8, whose
  /// matrices have one for each value.
  private static func kind(
    _ suffix: String, _ type: ElementType, role: ExpertPart.Role = .gate
  ) -> ExpertPart.Kind {
    let kind = ExpertPart.Kind.of(suffix: suffix)
    guard role != .other else { return .companion }
    let integers: [ElementType] = [.u8, .u16, .i16, .u32, .i32, .u64, .i64, .bool]
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
