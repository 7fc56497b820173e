// SPDX-License-Identifier: Apache-2.0
//
// MLX's affine quantisation of a matrix [out,in], read from its source (mlx 0.32, ops
// `quantize`):
//
//   weight  U32 [out, in * bits / 32]      32 / bits values in a word, the lowest bits first
//   scales  F [out, in / group]            value = scale * q + bias
//   biases  F [out, in / group]
//
// `config.json` says `quantization: {bits, group_size, mode}`, with objects of their own for
// modules that differ (mlx-lm gives Qwen3-MoE's gates 8 bits).

package import ByteStorage
package import Checkpoints
import OrderedCollections
import Tensors

/// How one quantised matrix is stored.
package struct AffineQuantisation: Sendable {
  package let bits: Int
  package let groupSize: Int
  package let scales: TensorInfo
  package let biases: TensorInfo

  /// The sizes at which no value crosses a word.
  private static let supportedBits = [2, 4, 8]

  /// The quantisation of the module that `weight` [rows, columns] is of, by MLX's part of
  /// `config.json`.
  init(
    _ config: JSONValue, weight: TensorInfo, companions: [TensorInfo], rows: Int, columns: Int,
    file: String
  ) throws(RegateError) {
    let module = String(weight.name.dropLast(".weight".count))
    let own = config[module]
    func number(_ key: String) -> Int? { (own?[key] ?? config[key])?.intValue }
    func words(_ key: String) -> String { number(key).map { "\($0)" } ?? "unknown" }
    func refused(_ problem: String) -> RegateError {
      RegateError(
        .unsupported, file: file, subject: weight.name, problem,
        advice: "use a checkpoint whose router was left unquantised")
    }
    let mode = (own?["mode"] ?? config["mode"])?.stringValue ?? "affine"
    guard mode == "affine" else { throw refused("the router is quantised by MLX's mode \(mode)") }
    guard let bits = number("bits"), let groupSize = number("group_size"),
      Self.supportedBits.contains(bits), groupSize > 0, columns.isMultiple(of: groupSize),
      (columns * bits).isMultiple(of: 32)
    else {
      throw refused(
        "the router is quantised to \(words("bits")) bits in groups of \(words("group_size")), "
          + "expected 2, 4 or 8 bits and groups that divide \(columns)")
    }
    func companion(_ word: String) throws(RegateError) -> TensorInfo {
      guard let tensor = companions.first(where: { $0.name == "\(module).\(word)" }) else {
        throw RegateError(
          .missing, file: file, subject: "\(module).\(word)",
          "no such tensor, but \(weight.name) is quantised",
          advice: "check that all files of the checkpoint are there")
      }
      let shape = [rows, columns / groupSize]
      guard tensor.shape == shape, tensor.type.isRealNumber else {
        throw RegateError(
          .mismatch, file: file, subject: tensor.name,
          "is \(tensor.type.rawValue) \(tensor.shape), expected floats \(shape)",
          advice: "the configuration belongs to another checkpoint")
      }
      return tensor
    }
    let packed = [rows, columns * bits / 32]
    guard weight.shape == packed else {
      throw RegateError(
        .mismatch, file: file, subject: weight.name,
        "has shape \(weight.shape), expected \(packed) for \(bits) bits",
        advice: "the configuration belongs to another checkpoint")
    }
    self.bits = bits
    self.groupSize = groupSize
    scales = try companion("scales")
    biases = try companion("biases")
  }

  /// The values of `weight`, row-major.
  package func decode(
    _ weight: TensorInfo, in checkpoint: any Checkpoint
  ) throws(RegateError) -> [Float] {
    let scales = try checkpoint.floats(of: scales)
    let biases = try checkpoint.floats(of: biases)
    let perByte = 8 / bits
    let mask = UInt8(truncatingIfNeeded: (1 << bits) - 1)
    return try checkpoint.withBytes(of: weight) { bytes in
      // Words are little-endian, so that the values of a row follow one another byte by byte.
      (0..<bytes.byteCount * perByte).map { index in
        let value = (bytes[index / perByte] >> UInt8(index % perByte * bits)) & mask
        let group = index / groupSize
        return scales[group] * Float(value) + biases[group]
      }
    }
  }
}
