// SPDX-License-Identifier: Apache-2.0
//
// Decodes one expert's matrices, each as any weight is (`StoredWeight`). Fused gate and up are
// split: by rows, or by turns of rows; [in,out] storage is transposed.

package import ByteStorage
package import Checkpoints
package import Tensors

/// Loads single experts from a checkpoint.
package struct ExpertReader: Sendable {
  private let checkpoint: any Checkpoint
  private let scheme: QuantisationScheme
  private let precision: Precision
  private let activation: GatedActivation
  /// Of what the router reads, for the experts, by layer.
  private let inputFactors: [Int: [Float]]
  /// Rows of fused gate and up take turns.
  private let isInterleaved: Bool
  /// Where decoded experts are noted, in whatever thread.
  private let log = WorkLog.current

  /// Throws where the experts are stored in a form that cannot be decoded.
  package init(
    _ checkpoint: any Checkpoint, layout: ModelLayout, as precision: Precision = .f32
  ) throws(RegateError) {
    guard layout.undecodable == nil, let activation = layout.activation else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: "experts",
        "cannot decode: \(layout.undecodable ?? "")",
        advice: layout.computesExperts
          ? "use the unquantised, FP8 or GGUF form of the model"
          : "give router inputs that tools/capture.py recorded")
    }
    self.checkpoint = checkpoint
    self.precision = precision
    self.activation = activation
    isInterleaved =
      layout.container == .safetensors && layout.family.huggingFace.interleavesGateUp
    scheme = layout.quantisation
    var factors: [Int: [Float]] = [:]
    for layer in layout.layers {
      factors[layer.index] = try layer.routerInput?.expertFactors(in: checkpoint)
    }
    inputFactors = factors
  }

  /// Of `model`, as exact as that is run.
  package init(_ model: Model) throws(RegateError) {
    try self.init(model.checkpoint, layout: model.layout, as: model.precision)
  }

  /// The matrices of expert `expert` of `layer`, ready for products.
  package func packed(of expert: Int, in layer: MoELayer) throws(RegateError) -> PackedExpert {
    log?.note(.expertDecoding(layer: layer.index, expert: expert))
    let (gate, up) = try gateAndUp(of: expert, in: layer)
    return PackedExpert(
      gate: gate, up: up, down: try packed(.down, of: expert, in: layer),
      biases: try biases(of: expert, in: layer), activation: activation,
      inputFactors: inputFactors[layer.index], outputFactor: try outputFactor(of: expert, in: layer)
    )
  }

  /// Bytes of one expert of `layer`, ready for products.
  package func packedBytes(of layer: MoELayer) -> Int {
    let precision = products(of: layer)
    func bytes(_ rows: Int, _ columns: Int) -> Int {
      PackedMatrix.bytes(rows: rows, columns: columns, precision: precision)
    }
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    return 2 * bytes(width, hidden) + bytes(hidden, width)
  }

  /// How exactly an expert's matrices are multiplied; as float32 where they cannot be decoded.
  package func products(of layer: MoELayer) -> ProductPrecision {
    guard let part = layer.matrix(.down),
      let weight = try? layer.weight(part, of: 0, in: checkpoint, scheme: scheme)
    else { return .full }
    return weight.products(precision)
  }

  private func gateAndUp(
    of expert: Int, in layer: MoELayer
  ) throws(RegateError) -> (PackedMatrix, PackedMatrix) {
    guard let part = layer.matrix(.gateUp) else {
      return (
        try packed(.gate, of: expert, in: layer), try packed(.up, of: expert, in: layer)
      )
    }
    let weight = try layer.weight(part, of: expert, in: checkpoint, scheme: scheme)
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    guard isInterleaved || part.transposed else {
      let matrix = try weight.matrix(
        rows: 2 * width, columns: hidden, in: checkpoint, as: precision)
      return (
        try matrix.packed(rows: 0..<width, threads: 1),
        try matrix.packed(rows: width..<2 * width, threads: 1)
      )
    }
    let panel = try panel(part, weight, rows: 2 * width, columns: hidden)
    let pairs = panel.pairedRows
    let halves =
      isInterleaved
      ? (pairs.columns(0..<hidden), pairs.columns(hidden..<2 * hidden))
      : (panel[0..<width], panel[width..<2 * width])
    return (
      PackedMatrix(packing: halves.0, precision: weight.products(precision)),
      PackedMatrix(packing: halves.1, precision: weight.products(precision))
    )
  }

  /// A matrix of its own.
  private func packed(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer
  ) throws(RegateError) -> PackedMatrix {
    let shape = role.shape(width: layer.expertWidth, hiddenSize: layer.hiddenSize)
    guard let part = layer.matrix(role), let shape else {
      throw RegateError(
        .missing, file: checkpoint.path, subject: "layer \(layer.index)",
        "the experts have no \(role.rawValue) matrix")
    }
    let weight = try layer.weight(part, of: expert, in: checkpoint, scheme: scheme)
    guard part.transposed else {
      return try weight.matrix(
        rows: shape[0], columns: shape[1], in: checkpoint, as: precision
      ).packed(threads: 1)
    }
    return PackedMatrix(
      packing: try panel(part, weight, rows: shape[0], columns: shape[1]),
      precision: weight.products(precision))
  }

  /// A whole matrix [rows, columns].
  private func panel(
    _ part: ExpertPart, _ weight: StoredWeight, rows: Int, columns: Int
  ) throws(RegateError) -> MatrixView {
    // [in,out] storage is decoded as it lies, scales included, and then turned.
    let (height, width) = part.transposed ? (columns, rows) : (rows, columns)
    let stored = try weight.matrix(rows: height, columns: width, in: checkpoint).panel(threads: 1)
    guard part.transposed else { return stored }
    let turned = MatrixView(rows: rows, columns: columns)
    turned.copyTransposed(stored)
    return turned
  }

  /// What the expert's output is multiplied by.
  private func outputFactor(of expert: Int, in layer: MoELayer) throws(RegateError) -> Float {
    guard let part = layer.experts.first(where: { $0.kind == .outputScale }) else { return 1 }
    let slice = TensorSlice(part, expert: expert)
    let values = try checkpoint.floats(of: slice.tensor, part: slice.bytes, count: 1)
    try checkpoint.requireFinite(values, of: slice.tensor, shape: [1])
    return values[0]
  }

  /// Nothing where the family has none.
  private func biases(
    of expert: Int, in layer: MoELayer
  ) throws(RegateError) -> FeedForwardBiases? {
    func values(_ role: ExpertPart.Role) throws(RegateError) -> [Float]? {
      guard let part = layer.experts.first(where: { $0.role == role && $0.kind == .bias }) else {
        return nil
      }
      let slice = TensorSlice(part, expert: expert)
      return try checkpoint.floats(
        of: slice.tensor, part: slice.bytes, count: slice.elementCount)
    }
    guard let down = try values(.down) else { return nil }
    if let both = try values(.gateUp) {
      let width = layer.expertWidth
      return isInterleaved
        ? FeedForwardBiases(
          gate: (0..<width).map { both[2 * $0] }, up: (0..<width).map { both[2 * $0 + 1] },
          down: down)
        : FeedForwardBiases(
          gate: Array(both[..<width]), up: Array(both[width...]), down: down)
    }
    guard let gate = try values(.gate), let up = try values(.up) else { return nil }
    return FeedForwardBiases(gate: gate, up: up, down: down)
  }
}

extension Model {
  /// What the experts' weights are multiplied in on this CPU; nil where they cannot be decoded.
  package var expertProducts: String? {
    guard let reader = try? ExpertReader(self) else { return nil }
    return Set(layout.layers.map { reader.products(of: $0).name }).sorted()
      .joined(separator: " and ")
  }
}

extension MoELayer {
  /// What is stored of an expert's matrix; nil where the layer has none of that role.
  func matrix(_ role: ExpertPart.Role) -> ExpertPart? {
    experts.first { $0.role == role && $0.isMatrix }
  }

  /// The matrix `part` of `expert` with what stands beside it.
  func weight(
    _ part: ExpertPart, of expert: Int, in checkpoint: any Checkpoint, scheme: QuantisationScheme
  ) throws(RegateError) -> StoredWeight {
    let beside = (experts + common).filter {
      $0.role == part.role && !$0.isMatrix && $0.kind != .outputScale
    }
    return try StoredWeight(
      TensorSlice(part, expert: expert), suffix: part.suffix,
      beside: beside.map { ($0.suffix, TensorSlice($0, expert: expert)) }, in: checkpoint,
      scheme: scheme)
  }
}
