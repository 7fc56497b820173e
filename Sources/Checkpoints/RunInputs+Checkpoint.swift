// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

extension RunInputs {
  /// A checkpoint, and the `others` that a run on it reads. Into a checkpoint's directory goes
  /// nothing: it would become a part of it.
  package init(_ checkpoint: any Checkpoint, _ others: [String] = []) {
    self.init(others)
    add(checkpoint)
  }

  package mutating func add(_ checkpoint: any Checkpoint) {
    for file in checkpoint.files { add(file.path, as: .original) }
    guard case .safetensors(let checkpoint) = checkpoint.format else { return }
    if FileKind(of: checkpoint.path) == .directory {
      add(checkpoint.directory, as: .original)
    } else {
      add(folderOfOriginal: checkpoint.directory)
    }
  }
}
