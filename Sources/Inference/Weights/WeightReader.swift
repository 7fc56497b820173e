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
  private let precision: Precision
  private let index: ModuleIndex

  init(_ checkpoint: any Checkpoint, layout: ModelLayout, as precision: Precision) {
    self.checkpoint = checkpoint
    self.precision = precision
    self.layout = layout
    index = ModuleIndex(checkpoint)
  }

  private var isGGUF: Bool { checkpoint.container == .gguf }

  // MARK: One layer's

  /// Full names, without suffix, that the weight may have.
  private func stems(_ name: WeightName, layer: Int) -> [String] {
    isGGUF
      ? name.gguf(layout.family.gguf).map { ["\(layout.prefix)blk.\(layer).\($0)"] } ?? []
      : name.huggingFace.map { "\(layout.prefix)layers.\(layer).\($0)" }
  }

  /// The weight of the module of that full name, with what stands beside it.
  private func weight(of module: String) throws(RegateError) -> StoredWeight? {
    try index.weight(of: module, scheme: layout.quantisation)
  }

  private func find(_ name: WeightName, layer: Int) throws(RegateError) -> StoredWeight? {
    for stem in stems(name, layer: layer) {
      if let weight = try weight(of: stem) { return weight }
    }
    return nil
  }

  func has(_ name: WeightName, layer: Int) -> Bool {
    stems(name, layer: layer).contains { checkpoint.tensors[$0 + ".weight"] != nil }
  }

  /// Whether the layer has `joined` in place of `parts`; refused where it has neither.
  func joins(
    _ joined: WeightName, _ parts: [WeightName], layer: Int
  ) throws(RegateError) -> Bool {
    guard !has(joined, layer: layer) else { return true }
    guard !parts.contains(where: { has($0, layer: layer) }) else { return false }
    let names = ([joined] + parts).compactMap { stems($0, layer: layer).first }
    let module = names.first.map { String($0.prefix(upTo: $0.lastIndex(of: ".") ?? $0.endIndex)) }
    let found = checkpoint.tensors.keys.filter { $0.hasPrefix((module ?? "") + ".") }
      .map { $0.dropFirst((module?.count ?? 0) + 1) }
    throw RegateError(
      .missing, file: checkpoint.path, subject: (names.first ?? "layer \(layer)") + ".weight",
      "no such tensor, nor \(names.dropFirst().map { $0 + ".weight" }.joined(separator: " and "))"
        + " in its place; beside it are "
        + (found.isEmpty ? "none" : found.sorted().prefix(12).joined(separator: ", ")),
      advice: "check that all its files are there and that the configuration is its own")
  }

  /// Refuses what stands beside a weight of `layers` layers and is not understood, before any of
  /// them is read.
  func requireUnderstood(layers: Int) throws(RegateError) {
    for layer in 0..<layers {
      for name in WeightName.allCases { _ = try find(name, layer: layer) }
    }
    _ = try weight(of: finalNormName)
  }

  /// How exactly the weight is multiplied; as float32 where there is none.
  func products(of name: WeightName, layer: Int) -> ProductPrecision {
    ((try? find(name, layer: layer)) ?? nil)?.products(precision) ?? .full
  }

  /// How exactly each of a layer's matrices outside its experts is multiplied; its router, and the
  /// gate of its shared experts, are none of these.
  func products(ofLayer layer: Int) -> [ProductPrecision] {
    WeightName.allCases.compactMap { name in
      guard name != .convolution, let weight = (try? find(name, layer: layer)) ?? nil,
        weight.shape.count > 1, weight.shape[0] > 1
      else { return nil }
      return weight.products(precision)
    }
  }

  /// Bytes of `matrices`, as they are multiplied.
  func bytes(of matrices: [Size], layer: Int) -> Int {
    matrices.reduce(0) { sum, matrix in
      sum
        + PackedMatrix.bytes(
          rows: matrix.rows, columns: matrix.columns,
          precision: products(of: matrix.name, layer: layer))
    }
  }

  private func required(
    _ name: WeightName, layer: Int, shapes: [[Int]]
  ) throws(RegateError) -> StoredWeight {
    guard let weight = try find(name, layer: layer) else {
      throw missing("\(stems(name, layer: layer).first ?? "layer \(layer)").weight")
    }
    try check(weight, shapes)
    return weight
  }

  private func missing(_ name: String) -> RegateError {
    RegateError(
      .missing, file: checkpoint.path, subject: name, "no such tensor in the checkpoint",
      advice: "check that all its files are there and that the configuration is its own")
  }

  private func check(_ weight: StoredWeight, _ shapes: [[Int]]) throws(RegateError) {
    guard !shapes.contains(weight.shape) else { return }
    throw misshapen(weight, "expected \(shapes[0]) by the configuration")
  }

  private func misshapen(_ weight: StoredWeight, _ expected: String) -> RegateError {
    let tensor = weight.weight.tensor
    return RegateError(
      .mismatch, file: checkpoint.files[tensor.file].path, subject: tensor.name,
      "has shape \(weight.shape), \(expected)")
  }

  /// All values of a weight; refused where one is NaN or infinite.
  private func floats(_ weight: StoredWeight) throws(RegateError) -> [Float] {
    let count = weight.shape.reduce(1, *)
    let values = try weight.matrix(rows: 1, columns: count, in: checkpoint).panel(threads: 1)
      .matrix.values
    try checkpoint.requireFinite(values, of: weight.weight.tensor, shape: weight.shape)
    return values
  }

  /// What a norm of hidden states, queries or keys multiplies by.
  func norm(_ name: WeightName, layer: Int, count: Int) throws(RegateError) -> [Float] {
    centred(try vector(name, layer: layer, count: count))
  }

  /// The weights of norms that may be stored less 1.
  private func centred(_ weights: [Float]) -> [Float] {
    !isGGUF && layout.family.huggingFace.centresNorms ? weights.map { 1 + $0 } : weights
  }

  /// The weight as it is stored.
  func vector(_ name: WeightName, layer: Int, count: Int) throws(RegateError) -> [Float] {
    try floats(try required(name, layer: layer, shapes: [[count], [1, count]]))
  }

  /// A projection's bias; nil where there is none.
  func bias(
    _ name: WeightName, layer: Int, count: Int, _ presence: Presence
  ) throws(RegateError) -> [Float]? {
    try bias(stems(name, layer: layer), count: count, presence)
  }

  private func bias(
    _ modules: [String], count: Int, _ presence: Presence
  ) throws(RegateError) -> [Float]? {
    let names = modules.map { $0 + ".bias" }
    let isThere = names.contains { checkpoint.tensors[$0] != nil }
    guard presence == .required || presence == .optional && isThere else { return nil }
    return try vector(names, suffix: "bias", count: count)
  }

  /// What a layer's output is multiplied by; llama.cpp takes 1 where there is none.
  func layerScale(layer: Int) throws(RegateError) -> Float {
    let names = stems(.layerScale, layer: layer).map { isGGUF ? $0 + ".weight" : $0 }
    if isGGUF, !names.contains(where: { checkpoint.tensors[$0] != nil }) { return 1 }
    return try vector(names, suffix: isGGUF ? "weight" : "", count: 1)[0]
  }

  /// A vector whose name has no suffix in safetensors files, and `ggufSuffix` or none in GGUF.
  func plainVector(
    _ name: WeightName, layer: Int, count: Int, ggufSuffix: String = ""
  ) throws(RegateError) -> [Float] {
    let suffix = isGGUF ? ggufSuffix : ""
    let names = stems(name, layer: layer).map { suffix.isEmpty ? $0 : "\($0).\(suffix)" }
    return try vector(names, suffix: suffix, count: count)
  }

  /// The tensor of the first of `names` that there is.
  private func vector(
    _ names: [String], suffix: String, count: Int
  ) throws(RegateError) -> [Float] {
    guard let tensor = names.lazy.compactMap({ checkpoint.tensors[$0] }).first else {
      throw missing(names.first ?? "layer tensor")
    }
    let weight = try StoredWeight(
      TensorSlice(tensor), suffix: suffix, beside: [], in: checkpoint, scheme: layout.quantisation)
    try check(weight, [[count], [1, count]])
    return try floats(weight)
  }

  func stored(
    _ name: WeightName, layer: Int, rows: Int, columns: Int, shape: [Int]? = nil
  ) throws(RegateError) -> StoredMatrix {
    try matrix(
      try required(name, layer: layer, shapes: [shape ?? [rows, columns]]), rows: rows,
      columns: columns)
  }

  /// A matrix [rows, columns], ready for products.
  func matrix(
    _ name: WeightName, layer: Int, rows: Int, columns: Int, threads: Int
  ) throws(RegateError) -> PackedMatrix {
    try stored(name, layer: layer, rows: rows, columns: columns).packed(threads: threads)
  }

  func matrix(
    _ weight: StoredWeight, rows: Int, columns: Int
  ) throws(RegateError) -> StoredMatrix {
    try weight.matrix(rows: rows, columns: columns, in: checkpoint, as: precision)
  }

  /// Each channel's factors of a causal convolution [channels, kernel], with a dimension of 1
  /// between the two in safetensors files.
  func convolution(
    layer: Int, channels: Int, kernel: Int
  ) throws(RegateError) -> StoredMatrix {
    try stored(
      .convolution, layer: layer, rows: channels, columns: kernel,
      shape: isGGUF ? [channels, kernel] : [channels, 1, kernel])
  }

  /// The gate of the shared expert as a row [1,H]; GGUF files store it [H].
  func sharedScale(layer: Int, hiddenSize: Int) throws(RegateError) -> MatrixView {
    let weight = try required(
      .sharedScale, layer: layer, shapes: [[1, hiddenSize], [hiddenSize]])
    return MatrixView(Matrix(rows: 1, columns: hiddenSize, values: try floats(weight)))
  }

  /// Rows of a gate or shared matrix, whose count no key gives.
  func rows(of name: WeightName, layer: Int) throws(RegateError) -> Int {
    try matrix(name, layer: layer).shape[0]
  }

  private func matrix(_ name: WeightName, layer: Int) throws(RegateError) -> StoredWeight {
    guard let weight = try find(name, layer: layer) else {
      throw missing("\(stems(name, layer: layer).first ?? "layer \(layer)").weight")
    }
    guard weight.shape.count == 2, weight.shape[0] > 0 else {
      throw misshapen(weight, "expected a matrix")
    }
    return weight
  }

  /// Whether shared experts have gate and up in one matrix.
  private var fusesShared: Bool {
    if case .fused = layout.family.huggingFace.made.shared { !isGGUF } else { false }
  }

  /// The matrices of the shared experts.
  var sharedNames: GatedNetwork.Names {
    if layout.family.layerForm == .branched { return (.gate, .up, .down) }
    return fusesShared
      ? (.sharedGateUp, .sharedGateUp, .sharedOutput) : (.sharedGate, .sharedUp, .sharedDown)
  }

  /// The width of a layer's shared experts.
  func sharedWidth(layer: Int) throws(RegateError) -> Int {
    guard fusesShared else { return try rows(of: sharedNames.gate, layer: layer) }
    let joined = try matrix(.sharedGateUp, layer: layer)
    guard joined.shape[0] % 2 == 0 else {
      throw misshapen(joined, "expected as many rows for gate and up, an even number")
    }
    return joined.shape[0] / 2
  }

  // MARK: The model's

  /// The embedding [V,H] and the output head of the same shape. Of tied ones, each stands in for
  /// the other where it is not stored; where both are and differ, transformers 5 does not tie them.
  func vocabulary(
    isTied: Bool
  ) throws(RegateError) -> (embedding: StoredWeight, head: StoredWeight) {
    let wrapped =
      layout.prefix.hasSuffix("model.") ? String(layout.prefix.dropLast(6)) : layout.prefix
    let name = isGGUF ? "token_embd" : layout.prefix + "embed_tokens"
    let names = isGGUF ? ["output"] : ["lm_head", wrapped + "lm_head"]
    let stored = try weight(of: name)
    var head: StoredWeight?
    for name in names where head == nil { head = try weight(of: name) }
    // llama.cpp always needs the embedding.
    guard let embedding = stored ?? (isTied && !isGGUF ? head : nil) else {
      throw missing(name + ".weight")
    }
    guard let head = head ?? (isTied ? embedding : nil) else { throw missing(names[0] + ".weight") }
    guard embedding.shape.count == 2, embedding.shape[0] > 0,
      embedding.shape[1] == layout.hiddenSize
    else { throw misshapen(embedding, "expected [vocabulary, \(layout.hiddenSize)]") }
    try check(head, [embedding.shape])
    return (embedding, head)
  }

  private var finalNormName: String { isGGUF ? "output_norm" : layout.prefix + "norm" }

  func finalNorm(
    bias presence: Presence
  ) throws(RegateError) -> (weight: [Float], bias: [Float]?) {
    guard let weight = try weight(of: finalNormName) else {
      throw missing(finalNormName + ".weight")
    }
    try check(weight, [[layout.hiddenSize]])
    let bias = try bias([finalNormName], count: layout.hiddenSize, presence)
    return (centred(try floats(weight)), bias)
  }

  /// The bias [V] of the output head.
  func headBias(count: Int, _ presence: Presence) throws(RegateError) -> [Float]? {
    try bias([isGGUF ? "output" : "lm_head"], count: count, presence)
  }

  /// What GGUF files divide the rotation frequencies by: `rope_freqs` of llama-3, and
  /// `rope_factors_short` of longrope.
  func ropeDivisors(_ name: String, isRequired: Bool) throws(RegateError) -> [Float]? {
    let found = try weight(of: name)
    if isRequired, found == nil { throw missing(name + ".weight") }
    return try found.map { weight throws(RegateError) in try floats(weight) }
  }
}
