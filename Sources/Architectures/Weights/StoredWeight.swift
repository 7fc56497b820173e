// SPDX-License-Identifier: Apache-2.0
//
// A weight is its tensor and everything that stands beside it. What is known is applied
// (`WeightForm`), what is of no consequence is left alone, and anything else is refused by name:
// this is the one place where companions of weights are judged, those of experts and all others.

package import ByteStorage
package import Checkpoints
package import Tensors

package struct StoredWeight: Sendable {
  /// A tensor beside the weight, and what follows the module in its name.
  package typealias Beside = (suffix: String, slice: TensorSlice)

  /// Values of four bits that lie in a larger element, the lowest one first.
  enum Packing: Sendable {
    /// Two in a byte.
    case fp4
    /// Eight in an I32, from -8.
    case int4

    var valuesPerElement: Int { self == .fp4 ? 2 : 8 }
    var elementType: ElementType { self == .fp4 ? .f4 : .i4 }
  }

  package let weight: TensorSlice
  let packing: Packing?
  /// Whether the 16 bytes of a block of packed values are a dimension of their own.
  let hasBlocks: Bool
  let scale: TensorSlice?
  /// Whether the scale counts 127ths.
  let scalesMaximum: Bool
  let globalScale: (slice: TensorSlice, divides: Bool)?
  let zeroPoints: TensorSlice?
  /// [2]
  let unpackedShape: TensorSlice?
  /// 0, where it is there.
  let rowOrder: TensorSlice?
  let scheme: QuantisationScheme
  let file: String

  /// `suffix` is what follows the module in the weight's own name. Throws where something beside
  /// it, or the weight without it, is not understood.
  package init(
    _ weight: TensorSlice, suffix: String, beside: [Beside], in checkpoint: any Checkpoint,
    scheme: QuantisationScheme
  ) throws(RegateError) {
    var found = Found(
      file: checkpoint.path, weight: weight.tensor.name, suffix: suffix, scheme: scheme)
    for companion in beside { try found.add(companion) }
    self.weight = weight
    hasBlocks = suffix == Companion.blocks
    self.scheme = scheme
    file = checkpoint.path
    scale = found.scale
    scalesMaximum = found.scalesMaximum
    globalScale = found.globalScale
    zeroPoints = found.zeroPoints
    unpackedShape = found.unpackedShape
    rowOrder = found.rowOrder
    packing = Self.packing(weight.tensor.type, suffix, scale: found.scale?.tensor.type)
    try requireKnownForm(suffix, isGGUF: checkpoint.container == .gguf)
  }

  private static func packing(
    _ type: ElementType, _ suffix: String, scale: ElementType?
  ) -> Packing? {
    guard let scale else { return nil }
    switch type {
    case .u8 where suffix == Companion.blocks: return [.f8e8m0, .u8].contains(scale) ? .fp4 : nil
    case .u8 where (Companion.weights + [""]).contains(suffix):
      return [.f8e4m3, .f8e8m0, .u8].contains(scale) ? .fp4 : nil
    // DeepSeek-V4's experts.
    case .i8 where (Companion.weights + [""]).contains(suffix): return scale == .f8e8m0 ? .fp4 : nil
    case .i32 where suffix == "weight_packed": return scale.isRealNumber ? .int4 : nil
    default: return nil
    }
  }

  /// The matrix's shape; packed values count one by one.
  package var shape: [Int] {
    guard let packing, let last = weight.shape.last else { return weight.shape }
    let values = packing.valuesPerElement * last
    let dimensions = weight.shape.dropLast()
    guard hasBlocks, let blocks = dimensions.last else { return dimensions + [values] }
    return dimensions.dropLast() + [blocks * values]
  }

  /// What its elements are decoded as.
  package var elementType: ElementType { packing?.elementType ?? weight.tensor.type }

  /// How exactly it is multiplied where `precision` is asked for.
  package func products(_ precision: Precision) -> ProductPrecision {
    ProductPrecision(of: elementType, scaled: scale != nil, as: precision)
  }
}

extension StoredWeight {
  /// Companions by what they are.
  private struct Found {
    let file: String
    let weight: String
    let suffix: String
    let scheme: QuantisationScheme
    var scale: TensorSlice?
    var scalesMaximum = false
    var globalScale: (slice: TensorSlice, divides: Bool)?
    var zeroPoints: TensorSlice?
    var unpackedShape: TensorSlice?
    var rowOrder: TensorSlice?

    init(file: String, weight: String, suffix: String, scheme: QuantisationScheme) {
      self.file = file
      self.weight = weight
      self.suffix = suffix
      self.scheme = scheme
    }

    mutating func add(_ companion: Beside) throws(RegateError) {
      let slice = companion.slice
      switch Companion(suffix: companion.suffix, of: suffix) {
      case .own, .activation: break
      case .scale: try set(&scale, slice)
      case .rowMaximum:
        try set(&scale, slice)
        scalesMaximum = true
      case .unpackedShape: unpackedShape = slice
      case .rowOrder: rowOrder = slice
      case .globalScale(let divides):
        if let globalScale { throw twice(globalScale.slice, slice) }
        globalScale = (slice, divides)
      case .zeroPoint: try set(&zeroPoints, slice)
      case .uncomputed, .unknown:
        let (meaning, advice) = Companion.refusal(companion.suffix)
        throw RegateError(
          .unsupported, file: file, subject: slice.tensor.name,
          "stands beside \(weight) and \(meaning)\(scheme.words)", advice: advice)
      }
    }

    private func set(_ place: inout TensorSlice?, _ slice: TensorSlice) throws(RegateError) {
      if let place { throw twice(place, slice) }
      place = slice
    }

    private func twice(_ first: TensorSlice, _ second: TensorSlice) -> RegateError {
      RegateError(
        .mismatch, file: file, subject: second.tensor.name,
        "is a second scale of \(weight) beside \(first.tensor.name)", advice: "remove one of them")
    }
  }

  private func refused(
    _ subject: TensorInfo, _ problem: String, code: RegateError.Code = .unsupported,
    advice: String = "use the unquantised, FP8 or GGUF form of the model"
  ) -> RegateError {
    RegateError(
      code, file: file, subject: subject.name, problem + scheme.words, advice: advice)
  }

  /// That the type and what stands beside it make a known whole.
  private func requireKnownForm(_ suffix: String, isGGUF: Bool) throws(RegateError) {
    let tensor = weight.tensor
    let type = tensor.type
    guard (Companion.weights + ["", "bias", Companion.blocks]).contains(suffix) else {
      throw refused(tensor, "\(Companion.refusal(suffix).meaning) and cannot be decoded")
    }
    guard !hasBlocks || [nil, "mxfp4"].contains(scheme.method) else {
      throw refused(
        tensor, "is in blocks of FP4, which quantization_config does not say",
        advice: "write quant_method mxfp4 into it, if the blocks are what the model is meant to be")
    }
    guard packing != nil || (TensorDecoder.supports(type) && suffix != "weight_packed") else {
      throw refused(tensor, "is \(type.rawValue), which cannot be decoded")
    }
    if packing != .int4 { try requireNone(unpackedShape) }
    if packing == .fp4 {
      try requireGlobalScale()
    } else if let globalScale {
      throw refused(
        globalScale.slice.tensor,
        "is a scale of scales, but \(tensor.name) is \(type.rawValue), not packed FP4")
    }
    if isGGUF || packing != nil { return try requireNone(zeroPoints) }
    switch type {
    case .f64, .f32, .f16, .bf16:
      try requireNone(scale)
      try requireNone(zeroPoints)
    case .u8 where hasBlocks && scale != nil:
      throw refused(tensor, "is in blocks of FP4, but their scales are no exponents of U8")
    case .u8 where hasBlocks, .f8e4m3, .f8e5m2, .f8e4m3fnuz, .f8e5m2fnuz, .f4, .i8:
      if scalesMaximum, type != .i8 { return try requireNone(scale) }
      guard scale == nil else { return }
      throw refused(
        tensor, "is \(type.rawValue), and no scale stands beside it", code: .missing,
        advice: "check that all its files are there, or use its unquantised form")
    default: throw refused(tensor, "is packed as \(type.rawValue), which cannot be decoded")
    }
  }

  /// NVFP4's block scales are FP8 and count in a scale of the whole matrix; MXFP4's are powers of
  /// two.
  private func requireGlobalScale() throws(RegateError) {
    let isNVFP4 = scale?.tensor.type == .f8e4m3
    if isNVFP4, globalScale == nil {
      throw refused(
        weight.tensor,
        "is packed FP4 with FP8 scales, but neither weight_scale_2 nor weight_global_scale stands"
          + " beside it", code: .missing, advice: "check that all its files are there")
    }
    guard !isNVFP4, let globalScale else { return }
    throw refused(
      globalScale.slice.tensor, "is a scale of scales, but those of \(weight.tensor.name) have none"
    )
  }

  private func requireNone(_ companion: TensorSlice?) throws(RegateError) {
    guard let companion else { return }
    throw refused(
      companion.tensor,
      "stands beside \(weight.tensor.name), which is \(weight.tensor.type.rawValue): no known"
        + " layout has both")
  }
}
