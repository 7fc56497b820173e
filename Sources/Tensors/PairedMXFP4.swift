// SPDX-License-Identifier: Apache-2.0
//
// MXFP4 (OCP Microscaling Formats 1.0) as GPT-OSS checkpoints store it, in two tensors:
//
//   1. <t>_blocks  U8 [.., rows, columns/32, 16]  byte b of a block: element 2b in the low nibble,
//                                                 2b + 1 in the high one, each E2M1
//   2. <t>_scales  U8 [.., rows, columns/32]      E8M0: 2^(scale - 127), 255 is NaN
//
// (GGUF's MXFP4 puts the scale first, and pairs element i with i + 16.)

package import ByteStorage
import CKernels

package enum PairedMXFP4 {
  package static let blockElements = 32
  package static let blockBytes = 16

  /// 32 values per scale, [.., rows, columns]. Exact, unless a value overflows to infinity.
  package static func decode(
    blocks: RawSpan, scales: RawSpan
  ) throws(RegateError) -> [Float] {
    let (expected, overflow) = scales.byteCount.multipliedReportingOverflow(by: blockBytes)
    guard !overflow, blocks.byteCount == expected else {
      throw RegateError(
        .mismatch, "MXFP4 has \(blocks.byteCount) bytes of blocks for \(scales.byteCount) scales",
        advice: "each scale belongs to \(blockBytes) bytes")
    }
    return try TensorDecoder.floats(count: scales.byteCount * blockElements) {
      (result) throws(RegateError) in
      // SAFETY: `blocks` has 16 bytes and `result` room for 32 floats per scale.
      unsafe blocks.withUnsafeBytes { blocks in
        unsafe scales.withUnsafeBytes { scales in
          guard let pairs = blocks.baseAddress, let exponents = scales.baseAddress else { return }
          unsafe rg_decode_mxfp4_pairs(
            rg_best_path(), pairs.assumingMemoryBound(to: UInt8.self),
            exponents.assumingMemoryBound(to: UInt8.self), result.contiguous, scales.count)
        }
      }
    }
  }
}
