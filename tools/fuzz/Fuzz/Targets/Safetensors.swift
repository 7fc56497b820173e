// SPDX-License-Identifier: Apache-2.0

import Checkpoints

extension Target {
  /// A whole file; what was read is written again and must be read as the same.
  static let safetensors = Target("safetensors") { bytes in
    let file = try SafetensorsFile(path: Scratch.write(bytes, to: "a.safetensors"))
    let again = try file.header.serialised()
    let data = [UInt8](bytes[file.dataStart...])
    let copy = try SafetensorsFile(path: Scratch.write(again + data, to: "b.safetensors"))
    precondition(copy.header == file.header, "a header does not read back as itself")
  }

  /// An index beside two files of one tensor each.
  static let safetensorsIndex = Target("safetensors-index") { bytes in
    _ = indexed
    _ = Scratch.write(bytes, to: "indexed/model.safetensors.index.json")
    _ = try SafetensorsCheckpoint(path: Scratch.folder + "/indexed")
  }

  private static let indexed: Void = {
    _ = Scratch.folder("indexed")
    for (number, name) in ["a", "b"].enumerated() {
      let header = Array(#"{"\#(name)":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#.utf8)
      let length = [UInt8(header.count), 0, 0, 0, 0, 0, 0, 0]
      _ = Scratch.write(
        length + header + [0],
        to: "indexed/model-0000\(number + 1)-of-00002.safetensors")
    }
  }()
}
