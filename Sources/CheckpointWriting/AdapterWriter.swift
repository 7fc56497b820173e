// SPDX-License-Identifier: Apache-2.0
//
// A GGUF LoRA adapter that re-routes a stock llama.cpp: it holds the gates' differences and nothing
// else, so it goes with every quantisation of the model.
//
// 1. Keys: general.type = adapter, adapter.type = lora, general.architecture as the model's,
//    adapter.lora.alpha = r. llama.cpp scales the product by alpha / r (src/llama-adapter.cpp): 1.
// 2. Per MoE layer n: blk.{n}.ffn_gate_inp.weight.lora_a F32 [r,H] and .lora_b F32 [E,r], with
//    lora_b · lora_a = the new gate minus the original one, [E,H].
//
// Full rank, r = min(E,H), is exact: one of the two is the identity. A lower rank keeps the largest
// singular values.

package import Architectures
package import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Routing
package import Tensors

/// An adapter that was written.
public struct AdapterSummary: Sendable {
  /// The largest rank r of a layer.
  public let rank: Int
  /// Bytes of the file.
  public let byteCount: Int
  /// ||B A - D||_F / ||D||_F of the layer where it is largest; D is the gates' difference.
  public let largestError: Double
}

/// Writes such an adapter.
package struct AdapterWriter {
  package let model: Model
  /// The new gate of every MoE layer, in order [E,H].
  package let gates: [Matrix]
  /// nil: full rank.
  package let rank: Int?

  package init(model: Model, gates: [Matrix], rank: Int?) {
    self.model = model
    self.gates = gates
    self.rank = rank
  }

  /// Refuses what an adapter cannot hold.
  package static func requirePossible(_ model: Model, rank: Int?) throws(RegateError) {
    let layout = model.layout
    if let bias = layout.layers.lazy.compactMap({ $0.selectionBias ?? $0.gateBias }).first {
      throw RegateError(
        .unsupported, file: model.checkpoint.path, subject: bias.name,
        "llama.cpp applies adapters to the gates only, and this model also selects by a bias, which "
          + "would keep its old values", advice: "write a copy or a delta")
    }
    guard layout.family.gguf.architecture != nil else {
      throw RegateError(
        .unsupported, file: model.checkpoint.path, subject: layout.family.title,
        "llama.cpp, which applies adapters, does not have this family",
        advice: "write a copy or a delta")
    }
    let limit = layout.layers.map { min($0.rule.experts, $0.hiddenSize) }.min() ?? 0
    guard let rank else { return }
    guard rank > 0 else {
      throw RegateError(.refused, subject: "`rank`", "is \(rank), expected a number above 0")
    }
    guard rank > limit else { return }
    throw RegateError(
      .refused, subject: "`rank`", "is \(rank), but \(limit) is exact already",
      advice: "give at most \(limit)")
  }

  /// Writes the adapter.
  package func write(to claim: OutputClaim) throws(RegateError) -> AdapterSummary {
    var entries: [GGUFTensorEntry] = []
    var tensors: [Matrix] = []
    var largest = 0.0
    var used = 0
    for (layer, gate) in zip(model.layout.layers, gates) {
      let original = try layer.router(from: model.checkpoint).gate
      let difference = Matrix(
        rows: gate.rows, columns: gate.columns,
        values: zip(gate.values, original.values).map { $0 - $1 })
      let (a, b) = try factors(of: difference)
      used = max(used, a.rows)
      largest = max(largest, AdapterWriter.error(a, b, difference))
      let name = "blk.\(layer.index).ffn_gate_inp.weight.lora_"
      entries.append(GGUFTensorEntry(name: name + "a", type: .f32, shape: [a.rows, a.columns]))
      entries.append(GGUFTensorEntry(name: name + "b", type: .f32, shape: [b.rows, b.columns]))
      tensors += [a, b]
    }
    let architecture = model.layout.family.gguf.architecture ?? ""
    let header = GGUFHeader(
      metadata: [
        "general.architecture": .string(architecture),
        "general.type": .string("adapter"),
        "general.name": .string("Balanced routing for " + model.checkpoint.path.lastPathComponent),
        "adapter.type": .string("lora"), "adapter.lora.alpha": .float32(Float(used)),
        "regate.version": .string(RegateVersion.current),
        "regate.source": .string(model.checkpoint.path.lastPathComponent),
      ], tensors: entries)
    let encoded = try header.encoded(file: claim.path)
    var file = OutputFile(name: claim.path.lastPathComponent, segments: [.bytes(encoded.bytes)])
    for (tensor, range) in zip(tensors, encoded.ranges) {
      file.append([
        .bytes([UInt8](repeating: 0, count: range.lowerBound - file.byteCount)),
        .bytes(try TensorEncoder.encode(tensor.values, type: .f32)),
      ])
    }
    file.append([.bytes([UInt8](repeating: 0, count: encoded.fileBytes - file.byteCount))])
    try AtomicFile.write(to: claim) { (writer) throws(RegateError) in
      try file.write(into: &writer)
    }
    return AdapterSummary(rank: used, byteCount: file.byteCount, largestError: largest)
  }

  /// A [r,H] and B [E,r] with B · A = `difference` [E,H], or near it.
  private func factors(of difference: Matrix) throws(RegateError) -> (a: Matrix, b: Matrix) {
    let (rows, columns) = (difference.rows, difference.columns)
    let full = min(rows, columns)
    guard let rank, rank < full else {
      return rows <= columns
        ? (difference, .identity(rows)) : (.identity(columns), difference)
    }
    // Left singular vectors: eigenvectors of D Dᵀ.
    var gram = [Double](repeating: 0, count: rows * rows)
    for i in 0..<rows {
      for j in 0...i {
        let dot = zip(difference.row(i), difference.row(j)).reduce(0.0) {
          $0 + Double($1.0) * Double($1.1)
        }
        gram[i * rows + j] = dot
        gram[j * rows + i] = dot
      }
    }
    let vectors = try LinearAlgebra.symmetricEigen(gram, size: rows).vectors.prefix(rank)
    let left = Matrix(rows: rank, columns: rows, values: vectors.flatMap { $0.map(Float.init) })
    return (LinearAlgebra.multiply(left, difference), left.transposed())
  }

  private static func error(_ a: Matrix, _ b: Matrix, _ difference: Matrix) -> Double {
    let product = LinearAlgebra.multiply(b, a)
    var wrong = 0.0
    var whole = 0.0
    for (x, y) in zip(product.values, difference.values) {
      wrong += Double(x - y) * Double(x - y)
      whole += Double(y) * Double(y)
    }
    return whole > 0 ? (wrong / whole).squareRoot() : 0
  }
}
