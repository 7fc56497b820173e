// SPDX-License-Identifier: Apache-2.0

import Architectures
import Checkpoints
import Inference

extension Target {
  /// A config.json, a zero byte, and the header of the tensors beside it, which are zeros.
  static let config = Target("config") { bytes in
    let folder = Scratch.folder("config")
    let parts = bytes.parts
    _ = Scratch.write(parts[0], to: "config/config.json")
    guard parts.count > 1, let file = Header.file(parts[1]) else { return }
    _ = Scratch.write(file.bytes, to: "config/model.safetensors", size: file.size)
    let model = try Model.open(folder)
    _ = model.warnings
    for layer in model.layout.layers { _ = try? layer.router(from: model.checkpoint) }
    _ = try InferenceModel(model.checkpoint, layout: model.layout).products
  }
}
