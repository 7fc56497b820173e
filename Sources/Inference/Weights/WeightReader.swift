// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Tensors

/// Whether a tensor is there.
enum Presence: Sendable {
  case absent, required
  /// The checkpoint tells by what it holds.
  case optional
}

/// Finds weights by role, whatever the container calls them, and checks their shapes.
package struct WeightReader: Sendable {
  /// A matrix of a layer, and the shape that it must have.
  typealias Size = (name: WeightName, rows: Int, columns: Int)

  let checkpoint: any Checkpoint
  let layout: ModelLayout

  init(_ checkpoint: any Checkpoint, layout: ModelLayout) {
    self.checkpoint = checkpoint
    self.layout = layout
  }

  private var isGGUF: Bool { checkpoint.container == .gguf }

  // MARK: One layer's

  /// Full names, without suffix, that the weight may have.
  private func stems(_ name: WeightName, layer: Int) -> [String] {
    isGGUF
      ? ["\(layout.prefix)blk.\(layer).\(name.gguf(layout.family.gguf))"]
      : name.huggingFace.map { "\(layout.prefix)layers.\(layer).\($0)" }
  }

  private func find(_ name: WeightName, layer: Int, _ suffix: String) -> TensorInfo? {
    stems(name, layer: layer).lazy.compactMap { checkpoint.tensors["\($0).\(suffix)"] }.first
  }

  func has(_ name: WeightName, layer: Int) -> Bool {
    find(name, layer: layer, "weight") != nil
  }

  /// How exactly the weight is multiplied; as float32 where there is none.
  func precision(of name: WeightName, layer: Int) -> ProductPrecision {
    guard let tensor = find(name, layer: layer, "weight") else { return .full }
    let isScaled =
      find(name, layer: layer, isGGUF ? "scale" : "weight_scale_inv") != nil
    return ProductPrecision(of: tensor.type, scaled: isScaled)
  }

  /// Bytes of `matrices`, as they are multiplied.
  func bytes(of matrices: [Size], layer: Int) -> Int {
    matrices.reduce(0) { sum, matrix in
      sum
        + PackedMatrix.bytes(
          rows: matrix.rows, columns: matrix.columns,
          precision: precision(of: matrix.name, layer: layer))
    }
  }

  private func required(
    _ name: WeightName, layer: Int, _ suffix: String, shapes: [[Int]]
  ) throws(RegateError) -> TensorInfo {
    guard let tensor = find(name, layer: layer, suffix) else {
      throw missing("\(stems(name, layer: layer).first ?? "layer \(layer)").\(suffix)")
    }
    try check(tensor, shapes)
    return tensor
  }

  private func missing(_ name: String) -> RegateError {
    RegateError(
      .missing, file: checkpoint.path, subject: name, "no such tensor in the checkpoint",
      advice: "check that all its files are there and that the configuration is its own")
  }

  private func check(_ tensor: TensorInfo, _ shapes: [[Int]]) throws(RegateError) {
    guard !shapes.contains(tensor.shape) else { return }
    throw RegateError(
      .mismatch, file: checkpoint.files[tensor.file].path, subject: tensor.name,
      "has shape \(tensor.shape), expected \(shapes[0]) by the configuration")
  }

  /// A norm's weight.
  func vector(_ name: WeightName, layer: Int, count: Int) throws(RegateError) -> [Float] {
    try checkpoint.finiteFloats(
      of: try required(name, layer: layer, "weight", shapes: [[count], [1, count]]))
  }

  /// A projection's bias; nil where there is none.
  func bias(
    _ name: WeightName, layer: Int, count: Int, _ presence: Presence
  ) throws(RegateError) -> [Float]? {
    switch presence {
    case .absent: return nil
    case .optional: if find(name, layer: layer, "bias") == nil { return nil }
    case .required: break
    }
    return try checkpoint.finiteFloats(
      of: try required(name, layer: layer, "bias", shapes: [[count], [1, count]]))
  }

  func stored(
    _ name: WeightName, layer: Int, rows: Int, columns: Int, shape: [Int]? = nil
  ) throws(RegateError) -> StoredMatrix {
    let tensor = try required(
      name, layer: layer, "weight", shapes: [shape ?? [rows, columns]])
    return try matrix(tensor, rows: rows, columns: columns)
  }

  /// A matrix [rows, columns], ready for products.
  func matrix(
    _ name: WeightName, layer: Int, rows: Int, columns: Int, threads: Int
  ) throws(RegateError) -> PackedMatrix {
    try stored(name, layer: layer, rows: rows, columns: columns).packed(threads: threads)
  }

  /// The gate of the shared expert as a row [1,H]; GGUF files store it [H].
  func sharedScale(layer: Int, hiddenSize: Int) throws(RegateError) -> MatrixView {
    let tensor = try required(
      .sharedScale, layer: layer, "weight", shapes: [[1, hiddenSize], [hiddenSize]])
    return MatrixView(
      Matrix(rows: 1, columns: hiddenSize, values: try checkpoint.finiteFloats(of: tensor)))
  }

  /// Rows of a gate or shared matrix, whose count no key gives.
  func rows(of name: WeightName, layer: Int) throws(RegateError) -> Int {
    guard let tensor = find(name, layer: layer, "weight") else {
      throw missing("\(stems(name, layer: layer)[0]).weight")
    }
    guard tensor.shape.count == 2, tensor.shape[0] > 0 else {
      throw RegateError(
        .mismatch, file: checkpoint.files[tensor.file].path, subject: tensor.name,
        "has shape \(tensor.shape), expected a matrix")
    }
    return tensor.shape[0]
  }

  func matrix(_ tensor: TensorInfo, rows: Int, columns: Int) throws(RegateError) -> StoredMatrix {
    let stem = tensor.name.hasSuffix(".weight") ? String(tensor.name.dropLast(7)) : tensor.name
    let scale = isGGUF ? checkpoint.tensors[stem + ".scale"] : nil
    return try StoredMatrix(
      tensor, rows: rows, columns: columns,
      scale: scale ?? checkpoint.tensors[stem + ".weight_scale_inv"], layout: layout,
      in: checkpoint)
  }

  // MARK: The model's

  /// The embedding [V,H] and the output head of the same shape. Of tied ones, each stands in for
  /// the other where it is not stored; where both are and differ, transformers 5 does not tie them.
  func vocabulary(isTied: Bool) throws(RegateError) -> (embedding: TensorInfo, head: TensorInfo) {
    let wrapped =
      layout.prefix.hasSuffix("model.") ? String(layout.prefix.dropLast(6)) : layout.prefix
    let name = isGGUF ? "token_embd.weight" : layout.prefix + "embed_tokens.weight"
    let names = isGGUF ? ["output.weight"] : ["lm_head.weight", wrapped + "lm_head.weight"]
    let stored = (
      embedding: checkpoint.tensors[name],
      head: names.lazy.compactMap { checkpoint.tensors[$0] }.first
    )
    // llama.cpp always needs the embedding.
    guard let embedding = stored.embedding ?? (isTied && !isGGUF ? stored.head : nil) else {
      throw missing(name)
    }
    guard let head = stored.head ?? (isTied ? embedding : nil) else { throw missing(names[0]) }
    guard embedding.shape.count == 2, embedding.shape[0] > 0,
      embedding.shape[1] == layout.hiddenSize
    else {
      throw RegateError(
        .mismatch, file: checkpoint.files[embedding.file].path, subject: embedding.name,
        "has shape \(embedding.shape), expected [vocabulary, \(layout.hiddenSize)]")
    }
    try check(head, [embedding.shape])
    return (embedding, head)
  }

  func finalNorm() throws(RegateError) -> [Float] {
    let name = isGGUF ? "output_norm.weight" : layout.prefix + "norm.weight"
    guard let tensor = checkpoint.tensors[name] else { throw missing(name) }
    try check(tensor, [[layout.hiddenSize]])
    return try checkpoint.finiteFloats(of: tensor)
  }

  /// What llama-3 GGUF files divide the rotation frequencies by.
  func ropeDivisors() throws(RegateError) -> [Float]? {
    try checkpoint.tensors["rope_freqs.weight"].map { tensor throws(RegateError) in
      try checkpoint.floats(of: tensor)
    }
  }
}
