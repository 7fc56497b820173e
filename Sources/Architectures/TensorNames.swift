// SPDX-License-Identifier: Apache-2.0

/// Names of one MoE layer's tensors in safetensors files, relative to `{prefix}layers.{n}.`.
///
/// Published names come first, the names that transformers 5 uses in memory (and writes with
/// `save_original_format=False`) after them. Fused and per-expert storage cannot be told from the
/// config, so both are always accepted.
package struct TensorNames: Sendable {
  /// Router gate [E,H].
  package var gate: [String]
  /// What the names of a router's other tensors begin with.
  package var router: [String] = []
  /// Bias on the logits [E].
  package var gateBias: [String] = []
  /// Bias on the scores, for selection only [E].
  package var selectionBias: [String] = []
  /// What the normalised hidden states are multiplied by for the router [H], where it has a norm of
  /// its own, and the norm of the experts' inputs [H].
  package var routerScale: [String] = []
  package var expertNorm: [String] = []
  /// What each expert's output is multiplied by [E].
  package var outputScale: [String] = []
  /// Tables of the experts that each token id takes, in layers that do not choose by their router.
  package var tables: [String] = []
  /// Other tensors of the router with a value for each expert, which stay with it.
  package var perExpert: [String] = []
  /// What per-expert names (`{container}.{e}.{projection}.{suffix}`) and fused names
  /// (`{container}.{projection}`) begin with.
  package var containers: [String]
  /// Fused matrices that lie outside the containers.
  package var fused: [String: ExpertPart.Role] = [:]
  /// What names of tensors begin with that all routed experts have in common, and that stay as they
  /// are.
  package var common: [String] = []
  /// What shared-expert names begin with.
  package var shared: [String] = []
  /// The published projections, for error messages.
  package var published: Projections = .byRole

  package enum Projections: Sendable {
    /// `gate_proj`, `up_proj`, `down_proj`.
    case byRole
    /// `w1` (gate), `w3` (up), `w2` (down).
    case numbered
    /// `gate_up_proj`, `down_proj`, one tensor for all experts.
    case fused
  }

  /// Every spelling of an expert's matrices. `gate_up_proj` is before `gate_proj`'s prefix matches.
  static let projections: [(stem: String, role: ExpertPart.Role)] = [
    ("gate_up_proj", .gateUp), ("gate_proj", .gate), ("up_proj", .up), ("down_proj", .down),
    ("w1", .gate), ("w3", .up), ("w2", .down),
  ]

  /// What mlx-lm calls the experts, which it stores in one tensor for all.
  package static let mlxExperts = "switch_mlp"
}

/// What a tensor is to its MoE layer.
package enum TensorRole: Equatable {
  case gate
  case gateBias
  case selectionBias
  case routerScale
  case expertNorm
  case outputScale
  /// The experts that each token id takes.
  case table
  /// Belongs to the router, but no family asks for it: scales of a quantised gate and the like.
  case gateCompanion
  /// One expert's own tensor. `stem` identifies the projection, with its container.
  case expert(Int, stem: String, suffix: String, role: ExpertPart.Role)
  /// A tensor of all experts.
  case fused(stem: String, suffix: String, role: ExpertPart.Role)
  case shared
  case unrelated
}

extension TensorNames {
  /// The names in a checkpoint of the official LPR code: the encoder stands for the gate.
  var official: TensorNames {
    var names = self
    names.router = gate.map { String($0.dropLast("weight".count)) }
    names.gate = names.router.map { $0 + "encoder.weight" }
    return names
  }

  /// The role of the tensor called `name`, relative to its layer.
  package func role(of name: String) -> TensorRole {
    if gate.contains(name) { return .gate }
    if gateBias.contains(name) { return .gateBias }
    if selectionBias.contains(name) { return .selectionBias }
    if routerScale.contains(name) { return .routerScale }
    if expertNorm.contains(name) { return .expertNorm }
    if outputScale.contains(name) { return .outputScale }
    if tables.contains(name) { return .table }
    if perExpert.contains(name) { return .fused(stem: name, suffix: "", role: .other) }
    if gate.contains(where: { isCompanion(name, of: $0) })
      || router.contains(where: name.hasPrefix)
    {
      return .gateCompanion
    }
    if shared.contains(where: { name.hasPrefix($0 + ".") }) { return .shared }
    if common.contains(where: name.hasPrefix) { return .unrelated }
    for container in containers {
      if let role = Self.roleInContainer(name, container) { return role }
      // mlx-lm's container lies where the published one does.
      let place = container.lastIndex(of: ".").map { container[...$0] } ?? ""
      if let role = Self.roleInContainer(name, place + Self.mlxExperts) { return role }
    }
    for (stem, role) in fused {
      if let suffix = Self.suffix(of: name, after: stem) {
        return .fused(stem: stem, suffix: suffix, role: role)
      }
    }
    return Self.roleByWord(name)
  }

  /// `mlp.gate.scales` belongs to `mlp.gate.weight`.
  private func isCompanion(_ name: String, of gate: String) -> Bool {
    guard gate.hasSuffix(".weight") else { return false }
    return name.hasPrefix(gate.dropLast("weight".count))
  }

  private static func roleInContainer(_ name: String, _ container: String) -> TensorRole? {
    guard name.hasPrefix(container + ".") else { return nil }
    let rest = name.dropFirst(container.count + 1)
    let parts = rest.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    if let first = parts.first, let expert = index(first) {
      let stem = parts.count > 1 ? String(parts[1]) : ""
      let role = projections.first { $0.stem == stem }?.role ?? .other
      return .expert(
        expert, stem: "\(container).*.\(stem)", suffix: parts.count > 2 ? String(parts[2]) : "",
        role: role)
    }
    for (stem, role) in projections {
      if let suffix = suffix(of: String(rest), after: stem) {
        return .fused(stem: "\(container).\(stem)", suffix: suffix, role: role)
      }
    }
    return .fused(stem: name, suffix: "", role: .other)
  }

  /// A name that speaks of experts in a way no table knows: still caught, as a companion.
  private static func roleByWord(_ name: String) -> TensorRole {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard let word = parts.firstIndex(where: { $0.lowercased().contains("expert") }) else {
      return .unrelated
    }
    if parts[word].lowercased().contains("shared") { return .shared }
    guard let number = parts[word...].firstIndex(where: { index($0) != nil }),
      let expert = index(parts[number])
    else { return .fused(stem: name, suffix: "", role: .other) }
    let stem = (parts[..<number] + ["*"] + parts[(number + 1)...]).joined(separator: ".")
    return .expert(expert, stem: stem, suffix: "", role: .other)
  }

  /// What follows `stem` and a separator (`.` or `_`) in `name`; nil if it does not begin with it.
  static func suffix(of name: String, after stem: String) -> String? {
    guard name.hasPrefix(stem) else { return nil }
    let rest = name.dropFirst(stem.count)
    guard let first = rest.first else { return "" }
    return first == "." || first == "_" ? String(rest.dropFirst()) : nil
  }

  /// A plain decimal number without leading zeros, so that no two names mean one index.
  static func index(_ text: some StringProtocol) -> Int? {
    guard let value = Int(text), value >= 0, String(value) == text else { return nil }
    return value
  }
}
