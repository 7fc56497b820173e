// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Tensors

extension ExpertParts.Finder {
  func shape(of role: ExpertPart.Role) -> [Int]? {
    role.shape(width: width, hiddenSize: inputs)
  }

  /// The shape that an expert's matrix must be stored in: of I8 with half of the columns, which is
  /// FP4, that half.
  func storedShape(of part: ExpertPart) -> [Int]? {
    guard let shape = shape(of: part.role) else { return nil }
    let half = [shape[0], shape[1] / 2]
    let first = part.slice(expert: 0).tensor
    return first.type == .i8 && part.shape(expert: 0) == half ? half : shape
  }

  /// GPT-OSS and some multimodal checkpoints store [in,out]; llama.cpp never does.
  private var mayTranspose: Bool {
    if case .huggingFace = names { true } else { false }
  }

  func isDivisible(_ tensor: TensorInfo) -> Bool {
    tensor.shape.first == experts && tensor.range.count % experts == 0
  }

  func wrongCount(_ tensor: TensorInfo) -> RegateError {
    RegateError(
      .mismatch, file: file, subject: tensor.name,
      "has shape \(tensor.shape), expected \(experts) experts in its first dimension")
  }

  /// The tensors of all experts, in order.
  func complete(
    _ tensors: [Int: TensorInfo], _ stem: String, _ suffix: String
  ) throws(RegateError) -> [TensorInfo] {
    if let excess = tensors.keys.filter({ $0 >= experts }).min(), let tensor = tensors[excess] {
      throw RegateError(
        .mismatch, file: file, subject: tensor.name,
        "is expert number \(excess), but the configuration has \(experts) experts (0 to"
          + " \(experts - 1))")
    }
    var all: [TensorInfo] = []
    for expert in 0..<experts {
      guard let tensor = tensors[expert] else {
        let pattern = suffix.isEmpty ? stem : "\(stem).\(suffix)"
        throw absent(pattern.replacing("*", with: String(expert), maxReplacements: 1))
      }
      all.append(tensor)
    }
    return all
  }

  private func absent(_ name: String) -> RegateError {
    RegateError(
      .missing, file: file, subject: layerName + name,
      "no such tensor, but the layer has \(experts) experts",
      advice: "check that all files of the checkpoint are there: a runtime may start it with random"
        + " values")
  }

  /// Every expert must have up and down, and gate, apart or together with up, where the family's
  /// have one; each once.
  func requireMatrices(_ parts: [ExpertPart]) throws(RegateError) {
    func matrices(_ role: ExpertPart.Role) -> [ExpertPart] {
      parts.filter { $0.role == role && $0.isMatrix }
    }
    guard isGated else {
      for role in [ExpertPart.Role.up, .down] { try requireOne(matrices(role), role) }
      if let surplus = (matrices(.gate) + matrices(.gateUp)).first {
        throw RegateError(
          .mismatch, file: file, subject: layerName + surplus.name,
          "is a gate, which the experts of this family do not have")
      }
      return
    }
    let isFusedInPrint = matrices(.gate).isEmpty && matrices(.up).isEmpty
    if case .huggingFace(let names) = names, case .fused = names.published, isFusedInPrint,
      matrices(.gateUp).isEmpty
    {
      throw absent(self.names.weight(.gateUp, expert: 0))
    }
    let roles: [ExpertPart.Role] =
      matrices(.gateUp).isEmpty ? [.gate, .up, .down] : [.gateUp, .down]
    for role in roles { try requireOne(matrices(role), role) }
    if roles.count == 2, let other = (matrices(.gate) + matrices(.up)).first,
      let fused = matrices(.gateUp).first
    {
      throw twice(fused, other)
    }
  }

  private func requireOne(
    _ found: [ExpertPart], _ role: ExpertPart.Role
  ) throws(RegateError) {
    guard let first = found.first else { throw absent(names.weight(role, expert: 0)) }
    guard found.count == 1 else { throw twice(first, found[1]) }
  }

  /// Every matrix must have a bias, of one value for each of its rows.
  func requireBiases(_ parts: [ExpertPart]) throws(RegateError) {
    for matrix in parts where matrix.isMatrix {
      let name = names.bias(matrix.role, expert: 0)
      let biases = parts.filter { $0.role == matrix.role && $0.kind == .bias }
      guard let bias = biases.first else { throw absent(name) }
      guard biases.count == 1 else { throw twice(bias, biases[1]) }
      guard let rows = shape(of: matrix.role)?.first else { continue }
      for expert in 0..<(bias.isStacked ? 1 : experts) {
        let (tensor, _) = bias.slice(expert: expert)
        guard bias.shape(expert: expert) == [rows] else {
          throw wrongShape(tensor, bias.shape(expert: expert), [rows])
        }
        guard tensor.type.isRealNumber else {
          throw RegateError(
            .unsupported, file: file, subject: tensor.name,
            "is \(tensor.type.rawValue), expected F64, F32, F16 or BF16")
        }
      }
    }
  }

  /// One number for each expert.
  func checkOutputScale(_ tensor: TensorInfo) throws(RegateError) {
    guard tensor.shape == [experts] else {
      throw RegateError(
        .mismatch, file: file, subject: tensor.name,
        "has shape \(tensor.shape), expected [\(experts)], one value per expert")
    }
    guard tensor.type.isRealNumber else {
      throw RegateError(
        .unsupported, file: file, subject: tensor.name,
        "is \(tensor.type.rawValue), expected F64, F32, F16 or BF16")
    }
  }

  func requireOutputScale(_ parts: [ExpertPart]) throws(RegateError) {
    guard let outputScale, !parts.contains(where: { $0.kind == .outputScale }) else { return }
    throw absent(outputScale)
  }

  private func twice(_ first: ExpertPart, _ second: ExpertPart) -> RegateError {
    RegateError(
      .mismatch, file: file, subject: layerName + first.name,
      "the experts are stored a second time as \(second.name)", advice: "remove one of them")
  }

  /// Checks every matrix's shape. Fused matrices may be [in,out], which a square one cannot tell
  /// by itself; the layer's others then do.
  func isTransposed(
    _ parts: [(part: ExpertPart, expected: [Int]?)]
  ) throws(RegateError) -> Bool {
    var transposed: Bool?
    for (part, expected) in parts {
      guard let expected else { continue }
      for expert in 0..<experts {
        let (tensor, _) = part.slice(expert: expert)
        let shape = part.shape(expert: expert)
        let isPlain = shape == expected
        let isReversed = mayTranspose && part.isStacked && shape == expected.reversed() && !isPlain
        guard isPlain || isReversed else { throw wrongShape(tensor, shape, expected) }
        let isSquare = expected[0] == expected[1]
        if part.isStacked, !isSquare {
          guard transposed == nil || transposed == isReversed else {
            throw wrongShape(tensor, shape, isReversed ? expected : expected.reversed())
          }
          transposed = isReversed
        }
        if part.isStacked { break }
      }
    }
    return transposed ?? false
  }

  private func wrongShape(
    _ tensor: TensorInfo, _ shape: [Int], _ expected: [Int]
  ) -> RegateError {
    let isFused = shape.count < tensor.shape.count
    return RegateError(
      .mismatch, file: file, subject: tensor.name,
      "has shape \(tensor.shape), expected \(isFused ? [experts] + expected : expected)"
        + " by \(isProjected ? "latent" : "hidden") size \(inputs) and expert width \(width)")
  }
}

extension ExpertPart {
  /// One tensor for all experts.
  var isStacked: Bool {
    if case .fused = storage { true } else { false }
  }
}
