// SPDX-License-Identifier: Apache-2.0
//
// How the values of a matrix follow from its tensors:
//
//   plain      every type of real numbers, every GGUF block type
//   scaled     FP8 and INT8: w = (q - zero) * scale, a scale for the matrix ([], [1], [1, 1]), for
//              each row ([rows], [rows, 1]) or for each block ([grid rows, grid columns])
//   LLM.int8   w = q * SCB[row] / 127
//   NVFP4      w = fp4 * (scale * weight_scale_2), or scale / weight_global_scale; groups of 16
//   MXFP4      w = fp4 * 2^scale; groups of 32, or [rows, groups, 16] (GPT-OSS)
//   INT4       w = q * scale, q from -8 to 7 packed into I32; rows or groups
//   GGUF       .scale: all values times one number
//
// Activations are never quantised: what a checkpoint has for that is left out.

import ByteStorage
import Checkpoints
import Tensors

extension StoredWeight {
  /// The scales of the matrix [rows, columns]; nil: its values are what is stored.
  func decoder(
    rows: Int, columns: Int, in checkpoint: any Checkpoint
  ) throws(RegateError) -> BlockScaledDecoder? {
    guard let scale else { return nil }
    let block = try block(rows: rows, columns: columns, in: checkpoint)
    if let rowOrder { try requireRowOrder(rowOrder, in: checkpoint) }
    if let unpackedShape { try require(unpackedShape, [rows, columns], in: checkpoint) }
    var scales = try values(of: scale, in: checkpoint)
    if let globalScale {
      let global = try values(of: globalScale.slice, in: checkpoint)[0]
      scales = scales.map { globalScale.divides ? $0 / global : $0 * global }
    } else if scalesMaximum {
      scales = scales.map { $0 / 127 }
    }
    return try checkpoint.naming(scale.tensor) { () throws(RegateError) in
      try BlockScaledDecoder(
        rows: rows, columns: columns, blockRows: block.rows, blockColumns: block.columns,
        scales: scales,
        offsets: try zeroPoints.map { zeroPoints throws(RegateError) in
          try checkpoint.floats(
            of: zeroPoints.tensor, part: zeroPoints.bytes, count: zeroPoints.elementCount)
        })
    }
  }

  /// What one scale is for; throws where the shapes do not fit each other. Reads no values.
  func block(
    rows: Int, columns: Int, in checkpoint: any Checkpoint
  ) throws(RegateError) -> QuantisationScheme.Block {
    let whole = QuantisationScheme.Block(rows: rows, columns: columns)
    guard let scale else { return whole }
    for single in [globalScale?.slice, rowOrder].compactMap({ $0 }) {
      guard single.elementCount == 1 else { throw misshapen(single, "expected one value") }
    }
    if let zeroPoints, zeroPoints.elementCount != scale.elementCount {
      throw misshapen(zeroPoints, "expected \(scale.shape), as the scales have")
    }
    if checkpoint.container == .gguf {
      guard scale.elementCount == 1 else { throw misshapen(scale, "expected one value") }
      return whole
    }
    if packing == .fp4 { return try group(rows: rows, columns: columns, scale) }
    // One value is the same in whatever shape.
    if scale.elementCount == 1 { return whole }
    // One dimension: a scale for each row.
    let grid = scale.shape.count == 1 ? scale.shape + [1] : scale.shape
    if let declared = scheme.block {
      let expected = declared.grid(rows, columns)
      guard grid == expected else { throw misshapen(scale, "expected \(expected)") }
      return declared
    }
    let perRow = QuantisationScheme.Block(rows: 1, columns: columns)
    if let block = ([perRow] + scheme.groups).first(where: { $0.grid(rows, columns) == grid }) {
      return block
    }
    guard grid.count == 2, let height = Self.size(rows, in: grid[0]),
      let width = Self.size(columns, in: grid[1])
    else {
      throw misshapen(
        scale,
        "expected one value, \(rows) for the rows, or a grid of equal blocks of [\(rows),"
          + " \(columns)]")
    }
    return QuantisationScheme.Block(rows: height, columns: width)
  }

  private func group(
    rows: Int, columns: Int, _ scale: TensorSlice
  ) throws(RegateError) -> QuantisationScheme.Block {
    let group = QuantisationScheme.Block(
      rows: 1, columns: scale.tensor.type == .f8e4m3 ? 16 : 32)
    let stored = hasBlocks ? [rows, columns / 32, 16] : [rows, columns / 2]
    guard shape == [rows, columns], weight.shape == stored else {
      throw RegateError(
        .unsupported, file: file, subject: weight.tensor.name,
        "is \(weight.tensor.type.rawValue) \(weight.shape), expected \(stored): two values of FP4 in a byte",
        advice: "use the unquantised, FP8 or GGUF form of the model")
    }
    let expected = group.grid(rows, columns)
    guard scale.shape == expected else { throw misshapen(scale, "expected \(expected)") }
    return group
  }

  /// The power of two in whose blocks `count` elements make `blocks`: at most one does, if there
  /// are several blocks.
  private static func size(_ count: Int, in blocks: Int) -> Int? {
    if blocks == 1 { return count }
    var size = 1
    while size < count {
      if BlockScaledDecoder.blocks(count, size) == blocks { return size }
      size *= 2
    }
    return nil
  }

  private func misshapen(_ slice: TensorSlice, _ expected: String) -> RegateError {
    RegateError(
      .mismatch, file: file, subject: slice.tensor.name,
      "has shape \(slice.shape) beside \(weight.tensor.name) \(weight.shape), \(expected)",
      advice: "the configuration belongs to another checkpoint")
  }

  private func values(
    of slice: TensorSlice, in checkpoint: any Checkpoint
  ) throws(RegateError) -> [Float] {
    let tensor = slice.tensor
    return try checkpoint.naming(tensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: tensor, part: slice.bytes) { bytes throws(RegateError) in
        try BlockScaledDecoder.scales(bytes, type: tensor.type, count: slice.elementCount)
      }
    }
  }

  private func require(
    _ slice: TensorSlice, _ expected: [Int], in checkpoint: any Checkpoint
  ) throws(RegateError) {
    let tensor = slice.tensor
    guard slice.elementCount == 2 else { throw misshapen(slice, "expected two values") }
    let found = try checkpoint.naming(tensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: tensor, part: slice.bytes) { bytes throws(RegateError) in
        try TensorDecoder.integers(bytes, type: tensor.type, count: 2)
      }
    }
    guard found != expected else { return }
    throw RegateError(
      .mismatch, file: file, subject: tensor.name,
      "says \(found), but \(weight.tensor.name) holds \(expected)",
      advice: "check that all its files are of one model")
  }

  private func requireRowOrder(
    _ slice: TensorSlice, in checkpoint: any Checkpoint
  ) throws(RegateError) {
    let order = try checkpoint.floats(of: slice.tensor, part: slice.bytes, count: 1)[0]
    guard order != 0 else { return }
    throw RegateError(
      .unsupported, file: file, subject: slice.tensor.name,
      "is \(Int(order)): \(weight.tensor.name) is in another order than row by row",
      advice: "save the model again with a current bitsandbytes")
  }
}

extension QuantisationScheme.Block {
  /// The shape of the scales of a matrix in such blocks.
  func grid(_ rows: Int, _ columns: Int) -> [Int] {
    [BlockScaledDecoder.blocks(rows, self.rows), BlockScaledDecoder.blocks(columns, self.columns)]
  }
}
