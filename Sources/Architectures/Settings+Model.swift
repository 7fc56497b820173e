// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints

extension Settings {
  /// The configuration of the (text) model in `checkpoint`: the object of `config.json` that its
  /// layout was read from, or the GGUF metadata of its architecture.
  package static func ofModel(_ checkpoint: any Checkpoint) throws(RegateError) -> Settings {
    switch checkpoint.format {
    case .safetensors(let checkpoint):
      let file = checkpoint.directory + "/config.json"
      guard let written = checkpoint.config else {
        throw RegateError(
          .missing, file: file, "there is no config.json beside the tensors",
          advice: "fetch it from the model's repository")
      }
      let config =
        try PrototypeForm.original(of: written, file: file) ?? OfficialForm.original(of: written)
        ?? written
      let (_, object, scope) = try Family.find(in: config, file: file)
      return Settings(json: object, scope: scope, file: file)
    case .gguf(let checkpoint):
      return Settings(gguf: checkpoint)
    }
  }
}
