// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Foundation
import Tensors
import TestSupport
import Testing

/// A way to store a matrix, with the values that its tensors stand for by their definition: codes
/// and scales are made up.
struct QuantisedLayout: Sendable, CustomTestStringConvertible {
  struct Tensor {
    let suffix: String
    let type: ElementType
    let shape: [Int]
    let bytes: [UInt8]
  }

  let name: String
  /// JSON of `quantization_config`.
  let config: String
  let make: @Sendable (_ rows: Int, _ columns: Int) -> (tensors: [Tensor], values: [Float])

  var testDescription: String { name }
  /// Whether words hold eight values each.
  var isPacked: Bool { name.hasPrefix("INT4") }

  private static func floats(_ suffix: String, _ shape: [Int], _ values: [Float]) -> Tensor {
    Tensor(
      suffix: suffix, type: .f32, shape: shape,
      bytes: values.flatMap { littleEndian($0.bitPattern) })
  }

  /// By IEEE's formula: 4 bits of exponent, 3 of mantissa.
  private static func e4m3(_ code: UInt8) -> Float {
    let (exponent, mantissa) = (Int(code >> 3 & 15), Float(code & 7) / 8)
    let size =
      exponent == 0
      ? mantissa * 0x1p-6
      : (1 + mantissa) * Float(sign: .plus, exponent: exponent - 7, significand: 1)
    return code & 0x80 == 0 ? size : -size
  }

  private static func codes(_ count: Int, below limit: Int) -> [UInt8] {
    var generator = SeededGenerator(seed: UInt64(count))
    return (0..<count).map { _ in UInt8(Int.random(in: 0..<limit, using: &generator)) }
  }

  /// FP8 or INT8 codes with a scale for each block; a block of 0 takes the whole row or column.
  static func eightBits(
    _ name: String, _ type: ElementType = .f8e4m3, block: (rows: Int, columns: Int),
    suffix: String = "weight_scale", config: String = "{}", isFlat: Bool = false,
    hasZeroPoints: Bool = false, unit: Float = 0.004,
    also: [(suffix: String, value: Float)] = [("input_scale", 7)]
  ) -> QuantisedLayout {
    QuantisedLayout(name: name, config: config) { rows, columns in
      let height = block.rows == 0 ? rows : block.rows
      let width = block.columns == 0 ? columns : block.columns
      let grid = [(rows + height - 1) / height, (columns + width - 1) / width]
      let isInteger = type == .i8
      // Never FP8's NaN.
      let stored = codes(rows * columns, below: 0x60).map { $0 % 3 == 0 ? $0 | 0x80 : $0 }
      let count = grid[0] * grid[1]
      let scales = (0..<count).map { unit * Float(1 + $0 % 5) * (isInteger ? 0.1 : 1) }
      let zeros = (0..<count).map { Int8($0 % 7) - 3 }
      let values = stored.indices.map { index in
        let place = index / columns / height * grid[1] + index % columns / width
        let zero = hasZeroPoints ? Float(zeros[place]) : 0
        let code = isInteger ? Float(Int8(bitPattern: stored[index])) : e4m3(stored[index])
        return (code - zero) * (suffix == "SCB" ? scales[place] / 127 : scales[place])
      }
      let shape = isFlat ? (count == 1 ? [] : [count]) : grid
      var tensors = [
        Tensor(suffix: "weight", type: type, shape: [rows, columns], bytes: stored),
        floats(suffix, shape, scales),
      ]
      tensors += also.map { floats($0.suffix, [], [$0.value]) }
      if hasZeroPoints {
        tensors.append(
          Tensor(
            suffix: "weight_zero_point", type: .i8, shape: grid,
            bytes: zeros.map(UInt8.init(bitPattern:))))
      }
      return (tensors, values)
    }
  }

  /// Packed FP4 in groups of 16 with FP8 scales, or of 32 with exponents.
  static func fp4(
    _ name: String, weight: String, global: (suffix: String, value: Float, divides: Bool)?
  ) -> QuantisedLayout {
    QuantisedLayout(name: name, config: #"{"quant_method": "some"}"#) { rows, columns in
      let group = global == nil ? 32 : 16
      let groups = (columns + group - 1) / group
      let packed = codes(rows * columns / 2, below: 256)
      let scales = codes(rows * groups, below: 8).map { $0 + (global == nil ? 118 : 40) }
      let table: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
      let values = (0..<rows * columns).map { index in
        let code = Int(packed[index / 2] >> UInt8(index % 2 * 4) & 15)
        let stored = scales[index / columns * groups + index % columns / group]
        let scale: Float =
          if let global {
            global.divides ? e4m3(stored) / global.value : e4m3(stored) * global.value
          } else {
            Float(sign: .plus, exponent: Int(stored) - 127, significand: 1)
          }
        return (code < 8 ? table[code] : -table[code - 8]) * scale
      }
      var tensors = [
        Tensor(suffix: weight, type: .u8, shape: [rows, columns / 2], bytes: packed),
        Tensor(
          suffix: "weight_scale", type: global == nil ? .u8 : .f8e4m3, shape: [rows, groups],
          bytes: scales),
      ]
      if let global { tensors.append(floats(global.suffix, [1], [global.value])) }
      return (tensors, values)
    }
  }

  /// Integers of four bits, eight in an I32, with a scale for each group; 0: for each row.
  static func int4(_ name: String, group: Int) -> QuantisedLayout {
    QuantisedLayout(
      name: name,
      config: #"{"quant_method": "compressed-tensors", "format": "pack-quantized"}"#
    ) { rows, columns in
      let width = group == 0 ? columns : group
      let groups = (columns + width - 1) / width
      let packed = codes(rows * columns / 2, below: 256)
      let scales = (0..<rows * groups).map { 0.01 * Float(1 + $0 % 7) }
      let values = (0..<rows * columns).map { index in
        let code = Int(packed[index / 2] >> UInt8(index % 2 * 4) & 15) - 8
        return Float(code) * scales[index / columns * groups + index % columns / width]
      }
      return (
        [
          Tensor(
            suffix: "weight_packed", type: .i32, shape: [rows, columns / 8], bytes: packed),
          floats("weight_scale", [rows, groups], scales),
          Tensor(
            suffix: "weight_shape", type: .i64, shape: [2],
            bytes: [rows, columns].flatMap { littleEndian(Int64($0)) }),
        ], values
      )
    }
  }

  static let all = [
    eightBits("a scale", block: (0, 0), isFlat: true),
    eightBits(
      "ModelOpt's FP8", block: (0, 0), isFlat: true,
      also: [("input_scale", 3), ("k_scale", 5), ("v_scale", 9)]),
    eightBits(
      "weight_scale_inv without blocks", block: (0, 0), suffix: "weight_scale_inv",
      config: #"{"quant_method": "fp8", "weight_block_size": null}"#, isFlat: true,
      also: [("activation_scale", 3)]),
    eightBits("channels", block: (1, 0)),
    eightBits("channels as [rows]", block: (1, 0), isFlat: true),
    eightBits(
      "declared blocks", block: (5, 7), suffix: "weight_scale_inv",
      config: #"{"quant_method": "fp8", "weight_block_size": [5, 7]}"#, also: []),
    eightBits("blocks that nothing declares", block: (4, 8)),
    eightBits(
      "blocks of a group", block: (3, 5),
      config: #"{"config_groups": {"a": {"weights": {"block_structure": [3, 5]}}}}"#),
    eightBits("INT8 channels", .i8, block: (1, 0)),
    eightBits("INT8 groups and zero points", .i8, block: (1, 8), hasZeroPoints: true),
    eightBits(
      "LLM.int8", .i8, block: (1, 0), suffix: "SCB", isFlat: true, unit: 0.5,
      also: [("weight_format", 0)]),
    fp4("NVFP4 of ModelOpt", weight: "weight", global: ("weight_scale_2", 0.03, false)),
    fp4(
      "NVFP4 of compressed-tensors", weight: "weight_packed",
      global: ("weight_global_scale", 40, true)),
    fp4("MXFP4", weight: "weight_packed", global: nil),
    fp4("MXFP4 of Quark", weight: "weight", global: nil),
    int4("INT4 groups of compressed-tensors", group: 8),
    int4("INT4 channels of compressed-tensors", group: 0),
  ]
}
