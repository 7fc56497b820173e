// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing

/// `config.json` of the native form: the original's keys, another `model_type`, and a `regate`
/// object that says how to read the routers.
enum NativeConfig {
  /// `config` with the native form's keys.
  static func patched(
    _ config: JSONValue, layers: [LayerPatch]
  ) throws(RegateError) -> JSONValue {
    guard let type = config["model_type"]?.stringValue else {
      throw RegateError(.missing, file: "config.json", subject: "model_type", "is not there")
    }
    var sizes: OrderedDictionary<String, JSONValue> = [:]
    for patch in layers {
      guard case .native(let router) = patch.router else { continue }
      sizes[String(patch.layer.index)] = .integer(router.latentSize)
    }
    var native = config
    native["model_type"] = .string(NativeForm.modelTypePrefix + type)
    native[NativeForm.key] = [
      "version": .integer(NativeForm.version), "base_model_type": .string(type),
      "router": "lpr", "encoder": "linear", "similarity": "dot", "latent_size": .object(sizes),
    ]
    return native
  }
}
