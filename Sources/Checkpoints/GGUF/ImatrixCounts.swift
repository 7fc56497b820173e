// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Tensors

/// Finds and checks the expert counts in an importance matrix.
struct ImatrixCounts {
  private static let countsSuffix = ".counts"
  private static let sumsSuffix = ".in_sum2"
  private static let expertWeights = [
    "ffn_gate_exps", "ffn_gate_up_exps", "ffn_up_exps", "ffn_down_exps",
  ]
  /// Ours: a trillion tokens, more than any run counts.
  private static let largestCount = Float(1 << 40)

  /// Ours: far more than the widest layer known. Bounds the sum of a layer's counts.
  private static let mostExperts = 1 << 14

  private let file: GGUFFile
  private let tensors: [String: TensorInfo]
  private var path: String { file.file.path }

  init(_ file: GGUFFile) throws(RegateError) {
    self.file = file
    tensors = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0) })
    for tensor in file.tensors { try checkPair(tensor) }
  }

  /// Sums and counts come in pairs of F32 tensors, one count per row of sums.
  private func checkPair(_ tensor: TensorInfo) throws(RegateError) {
    let partner: String
    if tensor.name.hasSuffix(ImatrixCounts.countsSuffix) {
      partner = tensor.name.dropLast(ImatrixCounts.countsSuffix.count) + ImatrixCounts.sumsSuffix
    } else if tensor.name.hasSuffix(ImatrixCounts.sumsSuffix) {
      partner = tensor.name.dropLast(ImatrixCounts.sumsSuffix.count) + ImatrixCounts.countsSuffix
    } else {
      return
    }
    guard let other = tensors[partner] else {
      throw RegateError(
        .malformed, file: path, subject: tensor.name, "there is no \(partner) beside it")
    }
    guard tensor.type == .f32 else {
      throw RegateError(
        .malformed, file: path, subject: tensor.name,
        "has type \(tensor.type.rawValue), must be F32")
    }
    guard tensor.name.hasSuffix(ImatrixCounts.countsSuffix) else { return }
    guard tensor.elementCount > 0, other.elementCount % tensor.elementCount == 0 else {
      throw RegateError(
        .mismatch, file: path, subject: tensor.name,
        "\(tensor.elementCount) counts do not divide the \(other.elementCount) sums of \(partner)")
    }
  }

  /// The layers with routed experts, in order.
  func layers() throws(RegateError) -> [ImatrixFile.Layer] {
    var layers: [ImatrixFile.Layer] = []
    for index in expertLayers() {
      let router = "blk.\(index).ffn_gate_inp.weight" + ImatrixCounts.countsSuffix
      var rows: Int?
      if let tensor = tensors[router], tensor.elementCount == 1 { rows = try counts(tensor)[0] }
      layers.append(
        ImatrixFile.Layer(
          index: index, counts: try expertCounts(of: index), routerRows: rows,
          hiddenSize: ImatrixCounts.expertWeights.dropLast().lazy
            .compactMap { width($0, of: index) }.first,
          expertWidth: width("ffn_down_exps", of: index)))
    }
    guard !layers.isEmpty else {
      throw RegateError(
        .missing, file: path, "holds no counts of routed experts (blk.N.ffn_*_exps)",
        advice: "make the importance matrix from a Mixture-of-Experts model")
    }
    return layers
  }

  /// Inputs of each expert's part of a weight: `checkPair` saw that its sums are as many for each.
  private func width(_ weight: String, of layer: Int) -> Int? {
    let name = "blk.\(layer).\(weight).weight"
    guard let sums = tensors[name + ImatrixCounts.sumsSuffix],
      let counts = tensors[name + ImatrixCounts.countsSuffix]
    else { return nil }
    return sums.elementCount / counts.elementCount
  }

  private func expertLayers() -> [Int] {
    var layers: Set<Int> = []
    for name in tensors.keys {
      let parts = name.split(separator: ".", omittingEmptySubsequences: false)
      guard parts.count == 5, parts[0] == "blk", let index = Int(parts[1]),
        ImatrixCounts.expertWeights.contains(String(parts[2])), parts[3] == "weight",
        parts[4] == ImatrixCounts.countsSuffix.dropFirst()
      else { continue }
      layers.insert(index)
    }
    return layers.sorted()
  }

  /// The counts of one layer; its gate, up and down weights must all tell the same.
  private func expertCounts(of layer: Int) throws(RegateError) -> [Int] {
    var found: (name: String, counts: [Int])?
    for weight in ImatrixCounts.expertWeights {
      let name = "blk.\(layer).\(weight).weight" + ImatrixCounts.countsSuffix
      guard let tensor = tensors[name] else { continue }
      let counts = try counts(tensor)
      guard counts.count <= ImatrixCounts.mostExperts else {
        throw RegateError(
          .unsupported, file: path, subject: name,
          "has \(counts.count) experts; at most \(ImatrixCounts.mostExperts) are supported")
      }
      guard counts.count > 1 else {
        throw RegateError(
          .unsupported, file: path, subject: name,
          "has one count for all experts: the file was converted from the older .dat form",
          advice: LegacyImatrix.advice)
      }
      if let found, found.counts != counts {
        throw RegateError(
          .mismatch, file: path, subject: name,
          ImatrixCounts.difference(counts, from: found.counts, of: found.name),
          advice: "the counts are of different runs: run llama-imatrix again")
      }
      found = (name, counts)
    }
    guard let found else {
      throw RegateError(.missing, file: path, subject: "blk.\(layer)", "no expert counts")
    }
    return found.counts
  }

  private static func difference(
    _ counts: [Int], from others: [Int], of name: String
  ) -> String {
    guard counts.count == others.count else {
      return "has \(counts.count) experts, but \(name) has \(others.count)"
    }
    let expert = zip(counts, others).enumerated().first { $1.0 != $1.1 }?.offset ?? 0
    return "counts \(counts[expert]) for expert \(expert), but \(name) counts \(others[expert])"
  }

  /// The values of a counts tensor as integers.
  private func counts(_ tensor: TensorInfo) throws(RegateError) -> [Int] {
    var reader = ByteReader(file.file, range: tensor.range)
    var counts: [Int] = []
    for element in 0..<tensor.elementCount {
      let value = Float(bitPattern: try reader.read(UInt32.self, tensor.name))
      guard value >= 0, value <= ImatrixCounts.largestCount else {
        throw RegateError(
          .malformed, file: path, subject: tensor.name,
          "count \(element) is \(value), expected a number of tokens")
      }
      counts.append(Int(value.rounded()))
    }
    return counts
  }
}
