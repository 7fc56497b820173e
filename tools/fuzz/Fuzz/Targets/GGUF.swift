// SPDX-License-Identifier: Apache-2.0

import Architectures
import Checkpoints
import Inference

/// Room for the tensors of a header: zeros, which take no memory.
private let room = 1 << 30

extension Target {
  /// A whole file; a header that is not changed must encode as itself.
  static let gguf = Target("gguf") { bytes in
    let checkpoint = try GGUFCheckpoint(path: Scratch.write(bytes, to: "a.gguf"))
    let file = checkpoint.parts[0]
    let encoded = try GGUFHeader(file).encoded()
    let count = min(encoded.bytes.count, file.dataStart)
    // What pads the header is not looked at.
    precondition(
      zip(encoded.bytes.prefix(count), bytes).prefix { $0 == $1 }.count >= count - file.alignment,
      "a header does not encode as itself")
  }

  /// A header, with room for its tensors: the layout of a model.
  static let ggufModel = Target("gguf-model") { bytes in
    let model = try Model.open(Scratch.write(bytes, to: "m.gguf", size: room))
    _ = model.warnings
    _ = try InferenceModel(model.checkpoint, layout: model.layout).products
  }
}
