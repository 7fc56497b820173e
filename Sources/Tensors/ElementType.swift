// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// How the elements of a tensor are stored: every dtype of safetensors 0.8 and every type of
/// ggml 0.25. Sizes are in bits per block, since some types pack several elements into one byte.
public enum ElementType: String, Sendable, Hashable, CaseIterable {
  // Plain numbers, in both containers.
  case f64 = "F64", f32 = "F32", f16 = "F16", bf16 = "BF16"
  case i8 = "I8", i16 = "I16", i32 = "I32", i64 = "I64"
  // safetensors only.
  case bool = "BOOL", u8 = "U8", u16 = "U16", u32 = "U32", u64 = "U64"
  case f4 = "F4", f6e2m3 = "F6_E2M3", f6e3m2 = "F6_E3M2"
  case f8e5m2 = "F8_E5M2", f8e4m3 = "F8_E4M3", f8e8m0 = "F8_E8M0"
  case f8e4m3fnuz = "F8_E4M3FNUZ", f8e5m2fnuz = "F8_E5M2FNUZ", c64 = "C64"
  // In neither under this name: what compressed-tensors packs into I32, eight values from -8 each.
  case i4 = "I4"
  // GGUF only.
  case q4_0 = "Q4_0", q4_1 = "Q4_1", q5_0 = "Q5_0", q5_1 = "Q5_1", q8_0 = "Q8_0", q8_1 = "Q8_1"
  case q2_K = "Q2_K", q3_K = "Q3_K", q4_K = "Q4_K", q5_K = "Q5_K", q6_K = "Q6_K", q8_K = "Q8_K"
  case iq2_XXS = "IQ2_XXS", iq2_XS = "IQ2_XS", iq2_S = "IQ2_S"
  case iq3_XXS = "IQ3_XXS", iq3_S = "IQ3_S", iq1_S = "IQ1_S", iq1_M = "IQ1_M"
  case iq4_NL = "IQ4_NL", iq4_XS = "IQ4_XS", tq1_0 = "TQ1_0", tq2_0 = "TQ2_0"
  case mxfp4 = "MXFP4", nvfp4 = "NVFP4", q1_0 = "Q1_0", q2_0 = "Q2_0"

  /// Elements per block; 1 for plain numbers, whose rows may have any length.
  public var blockElements: Int {
    switch self {
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q8_1, .iq4_NL, .mxfp4: 32
    case .nvfp4, .q2_0: 64
    case .q1_0: 128
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .q8_K, .iq2_XXS, .iq2_XS, .iq2_S, .iq3_XXS, .iq3_S,
      .iq1_S, .iq1_M, .iq4_XS, .tq1_0, .tq2_0:
      256
    default: 1
    }
  }

  /// Bits per block.
  public var blockBits: Int {
    switch self {
    case .f4, .i4: 4
    case .f6e2m3, .f6e3m2: 6
    case .bool, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz: 8
    case .f16, .bf16, .u16, .i16: 16
    case .f32, .u32, .i32: 32
    case .f64, .u64, .i64, .c64: 64
    case .q4_0, .iq4_NL, .q1_0, .q2_0: 18 * 8
    case .q4_1: 20 * 8
    case .q5_0: 22 * 8
    case .q5_1: 24 * 8
    case .q8_0: 34 * 8
    case .q8_1, .nvfp4: 36 * 8
    case .mxfp4: 17 * 8
    case .q2_K: 84 * 8
    case .q3_K, .iq3_S: 110 * 8
    case .q4_K: 144 * 8
    case .q5_K: 176 * 8
    case .q6_K: 210 * 8
    case .q8_K: 292 * 8
    case .iq2_XXS, .tq2_0: 66 * 8
    case .iq2_XS: 74 * 8
    case .iq2_S: 82 * 8
    case .iq3_XXS: 98 * 8
    case .iq1_S: 50 * 8
    case .iq1_M: 56 * 8
    case .iq4_XS: 136 * 8
    case .tq1_0: 54 * 8
    }
  }

  /// Bytes of `count` elements, or nil where they do not fill whole blocks and bytes, or on
  /// overflow.
  public func byteCount(of count: Int) -> Int? {
    guard count >= 0, count % blockElements == 0 else { return nil }
    let (bits, overflow) = (count / blockElements).multipliedReportingOverflow(by: blockBits)
    guard !overflow, bits % 8 == 0 else { return nil }
    return bits / 8
  }

  /// Whether each element is a float of at least 16 bits.
  package var isRealNumber: Bool { [.f64, .f32, .f16, .bf16].contains(self) }

  /// Whether the tensor is block-quantised in GGUF's sense.
  public var isQuantised: Bool { blockElements > 1 }
}
