// SPDX-License-Identifier: Apache-2.0
//
// Stored elements to Float.
//
// 1. The bits of gguf-py 0.19's `dequantize`, of safetensors' float types, and of IEEE 754
//    conversion: float32 arithmetic in gguf-py's order, one rounding per operation. Only F64 is
//    rounded; 32- and 64-bit integers are refused where Float cannot hold them.
// 2. The same bits on every CPU (payloads and signs of NaN excepted).
// 3. Memory speed: the kernels are C (CKernels), chosen at run time.

package import ByteStorage
import CKernels

package enum TensorDecoder {
  /// Decodes `count` elements of `type` from `bytes`, which must hold exactly that many.
  package static func decode(
    _ bytes: RawSpan, type: ElementType, count: Int
  ) throws(RegateError) -> [Float] {
    try requireSupport(of: type)
    requireSize(bytes, of: type, count: count)
    return try floats(count: count) { (result) throws(RegateError) in
      try decode(bytes, type: type, into: result)
    }
  }

  /// Decodes as many elements of `type` as `result`, which has no gaps between its rows, has room
  /// for; `bytes` must hold exactly that many.
  package static func decode(
    _ bytes: RawSpan, type: ElementType, into result: MatrixView
  ) throws(RegateError) {
    try requireSupport(of: type)
    let count = result.rows * result.columns
    requireSize(bytes, of: type, count: count)
    guard count > 0 else { return }
    guard let kernel = type.kernel else {
      let integers = try TensorDecoder.integers(bytes, type: type, count: count)
      for (index, integer) in integers.enumerated() {
        guard let value = Float(exactly: integer) else {
          throw RegateError(
            .unsupported, "\(type.rawValue) element \(index) is \(integer), which Float cannot hold"
          )
        }
        result[index / result.columns, index % result.columns] = value
      }
      return
    }
    // SAFETY: the kernel reads whole blocks, whose bytes are all of `bytes`, and writes their
    // elements, which are `count`: compared above, and `contiguous` checks that they lie together.
    unsafe bytes.withUnsafeBytes { source in
      guard let source = source.baseAddress else { return }
      unsafe rg_decode(
        kernel, rg_best_path(), source, result.contiguous, count / rg_block_elements(kernel))
    }
  }

  private static func requireSize(_ bytes: RawSpan, of type: ElementType, count: Int) {
    precondition(
      type.byteCount(of: count) == bytes.byteCount, "bytes do not match the element count")
  }

  /// Whether elements of `type` can be decoded to Float.
  package static func supports(_ type: ElementType) -> Bool {
    type.kernel != nil || type.isWideInteger
  }

  private static func requireSupport(of type: ElementType) throws(RegateError) {
    guard supports(type) else {
      throw RegateError(
        .unsupported, "element type \(type.rawValue) cannot be decoded to real numbers")
    }
  }

  /// An array of `count` floats, which `body` writes through a view of one row; it is not called
  /// for none.
  static func floats(
    count: Int, _ body: (MatrixView) throws(RegateError) -> Void
  ) throws(RegateError) -> [Float] {
    try Matrix(rows: 1, columns: count, writing: body).values
  }
}

extension ElementType {
  /// The C kernel for the type; nil where there is none.
  var kernel: rg_type? {
    switch self {
    case .f64: rg_type_f64
    case .f32: rg_type_f32
    case .f16: rg_type_f16
    case .bf16: rg_type_bf16
    case .i8: rg_type_i8
    case .u8, .bool: rg_type_u8
    case .i16: rg_type_i16
    case .u16: rg_type_u16
    case .i32, .i64, .u32, .u64, .c64, .f6e2m3, .f6e3m2: nil
    case .f8e4m3: rg_type_f8e4m3
    case .f8e5m2: rg_type_f8e5m2
    case .f8e8m0: rg_type_f8e8m0
    case .f8e4m3fnuz: rg_type_f8e4m3fnuz
    case .f8e5m2fnuz: rg_type_f8e5m2fnuz
    case .f4: rg_type_f4
    case .i4: rg_type_i4
    case .q4_0: rg_type_q4_0
    case .q4_1: rg_type_q4_1
    case .q5_0: rg_type_q5_0
    case .q5_1: rg_type_q5_1
    case .q8_0: rg_type_q8_0
    case .q8_1: rg_type_q8_1
    case .q2_K: rg_type_q2_k
    case .q3_K: rg_type_q3_k
    case .q4_K: rg_type_q4_k
    case .q5_K: rg_type_q5_k
    case .q6_K: rg_type_q6_k
    case .q8_K: rg_type_q8_k
    case .iq2_XXS: rg_type_iq2_xxs
    case .iq2_XS: rg_type_iq2_xs
    case .iq2_S: rg_type_iq2_s
    case .iq3_XXS: rg_type_iq3_xxs
    case .iq3_S: rg_type_iq3_s
    case .iq1_S: rg_type_iq1_s
    case .iq1_M: rg_type_iq1_m
    case .iq4_NL: rg_type_iq4_nl
    case .iq4_XS: rg_type_iq4_xs
    case .tq1_0: rg_type_tq1_0
    case .tq2_0: rg_type_tq2_0
    case .mxfp4: rg_type_mxfp4
    case .nvfp4: rg_type_nvfp4
    case .q1_0: rg_type_q1_0
    case .q2_0: rg_type_q2_0
    }
  }

  fileprivate var isWideInteger: Bool {
    switch self {
    case .i32, .i64, .u32, .u64: true
    default: false
    }
  }
}
