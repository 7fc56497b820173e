// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Traffic

/// The model that captures and counts are of.
private let model: Model = {
  do { return try Model.open(Scratch.fixture("tiny-qwen3-moe")) } catch { fatalError("\(error)") }
}()

extension Target {
  /// A capture's header; its values are zeros.
  static let capture = Target("capture") { bytes in
    guard let file = Header.file(bytes) else { return }
    let path = Scratch.write(file.bytes, to: "capture.safetensors", size: file.size)
    let calibration = try Calibration(
      [path], for: model, options: TokenOptions(), progress: NoProgress())
    _ = try calibration.digest()
    guard case .captures(let captures) = calibration else { return }
    for layer in model.layout.layers { _ = try captures.inputs(layer: layer.index) }
  }

  /// Arrays that are taken for token ids, of a kind by the first byte.
  static let tokenIDs = Target("token-ids") { bytes in
    let names = ["ids.npy", "ids.npz", "ids.safetensors"]
    let path = Scratch.write(
      [UInt8](bytes.dropFirst()), to: names[Int(bytes.first ?? 0) % names.count])
    _ = try Calibration(
      [path], for: model, options: TokenOptions(), progress: NoProgress()
    ).digest()
  }

  /// Counts of a runtime: tables, torch archives, importance matrices; arrays where the first byte
  /// is `n`.
  static let counts = Target("counts") { bytes in
    let isArray = bytes.first == UInt8(ascii: "n")
    let path = Scratch.write(
      isArray ? [UInt8](bytes.dropFirst()) : bytes, to: isArray ? "counts.npy" : "counts")
    let counts = try ExpertCounts(path: path, layout: model.layout)
    precondition(counts.tokens >= 0 && counts.load.count == model.layout.layers.count)
  }
}
