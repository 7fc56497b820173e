// SPDX-License-Identifier: Apache-2.0
//
// Decodes one expert's matrices, each as any weight is (`StoredWeight`). Fused gate and up
// are split by rows; [in,out] storage is transposed.

package import ByteStorage
package import Checkpoints
import Tensors

/// Loads single experts from a checkpoint.
package struct ExpertReader: Sendable {
  private let checkpoint: any Checkpoint
  private let scheme: QuantisationScheme
  private let activation: GatedActivation
  /// Where decoded experts are noted, in whatever thread.
  private let log = WorkLog.current

  /// Throws where the experts are stored in a form that cannot be decoded.
  package init(_ checkpoint: any Checkpoint, layout: ModelLayout) throws(RegateError) {
    guard layout.undecodable == nil, let activation = layout.family.activation.gated else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: "experts",
        "cannot decode: \(layout.undecodable ?? layout.family.activation.rawValue)",
        advice: "use the unquantised, FP8 or GGUF form of the model")
    }
    self.checkpoint = checkpoint
    self.activation = activation
    scheme = layout.quantisation
  }

  /// The matrices of expert `expert` of `layer`, ready for products.
  package func packed(of expert: Int, in layer: MoELayer) throws(RegateError) -> PackedExpert {
    log?.note(.expertDecoding(layer: layer.index, expert: expert))
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    func packed(
      _ role: ExpertPart.Role, _ rows: Range<Int>, of all: Int, columns: Int
    ) throws(RegateError) -> PackedMatrix {
      try self.packed(role, of: expert, in: layer, rows: rows, of: all, columns: columns)
    }
    let isJoined = layer.matrix(.gateUp) != nil
    return PackedExpert(
      gate: isJoined
        ? try packed(.gateUp, 0..<width, of: 2 * width, columns: hidden)
        : try packed(.gate, 0..<width, of: width, columns: hidden),
      up: isJoined
        ? try packed(.gateUp, width..<2 * width, of: 2 * width, columns: hidden)
        : try packed(.up, 0..<width, of: width, columns: hidden),
      down: try packed(.down, 0..<hidden, of: hidden, columns: width), activation: activation)
  }

  /// Bytes of one expert of `layer`, ready for products.
  package func packedBytes(of layer: MoELayer) -> Int {
    let precision = layer.expertPrecision(in: checkpoint, scheme: scheme)
    func bytes(_ rows: Int, _ columns: Int) -> Int {
      PackedMatrix.bytes(rows: rows, columns: columns, precision: precision)
    }
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    return 2 * bytes(width, hidden) + bytes(hidden, width)
  }

  /// Rows `selection` of a matrix of `rows` rows.
  private func packed(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows selection: Range<Int>,
    of rows: Int, columns: Int
  ) throws(RegateError) -> PackedMatrix {
    guard let part = layer.matrix(role), !part.transposed else {
      // [in,out] storage must be whole to be turned.
      let panel = try panel(role, of: expert, in: layer, rows: rows, columns: columns)
      return PackedMatrix(packing: panel[selection])
    }
    return try layer.weight(part, of: expert, in: checkpoint, scheme: scheme)
      .matrix(rows: rows, columns: columns, in: checkpoint)
      .packed(rows: selection, threads: 1)
  }

  private func panel(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows: Int, columns: Int
  ) throws(RegateError) -> MatrixView {
    let panel = try panelIfPresent(role, of: expert, in: layer, rows: rows, columns: columns)
    guard let panel else {
      throw RegateError(
        .missing, file: checkpoint.path, subject: "layer \(layer.index)",
        "the experts have no \(role.rawValue) matrix")
    }
    return panel
  }

  private func panelIfPresent(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows: Int, columns: Int
  ) throws(RegateError) -> MatrixView? {
    guard let part = layer.matrix(role) else { return nil }
    // [in,out] storage is decoded as it lies, scales included, and then turned.
    let (height, width) = part.transposed ? (columns, rows) : (rows, columns)
    let stored = try layer.weight(part, of: expert, in: checkpoint, scheme: scheme)
      .matrix(rows: height, columns: width, in: checkpoint).panel(threads: 1)
    guard part.transposed else { return stored }
    let turned = MatrixView(rows: rows, columns: columns)
    turned.copyTransposed(stored)
    return turned
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
    let beside = (experts + common).filter { $0.role == part.role && !$0.isMatrix }
    return try StoredWeight(
      TensorSlice(part, expert: expert), suffix: part.suffix,
      beside: beside.map { ($0.suffix, TensorSlice($0, expert: expert)) }, in: checkpoint,
      scheme: scheme)
  }

  /// How exactly an expert's matrices are multiplied; as float32 where they cannot be decoded.
  fileprivate func expertPrecision(
    in checkpoint: any Checkpoint, scheme: QuantisationScheme
  ) -> ProductPrecision {
    guard let part = matrix(.down),
      let weight = try? weight(part, of: 0, in: checkpoint, scheme: scheme)
    else { return .full }
    return weight.precision
  }
}
