// SPDX-License-Identifier: Apache-2.0
//
// Where a checkpoint says how many experts its layers have, for outputs that have fewer.

package import Checkpoints
import OrderedCollections

extension ModelLayout {
  /// The GGUF metadata key of the number of experts, after the architecture and a dot.
  package static let expertCountKey = "expert_count"

  /// `config`, the checkpoint's `config.json`, for layers of `experts` experts: under every
  /// spelling of the key that it has, or the first where it has none.
  package func configuration(_ config: JSONValue, experts: Int) -> JSONValue {
    var patched = config
    // The language model's keys may stand in an object of their own.
    guard config == self.config ?? config else {
      for (key, member) in config.objectValue ?? [:] where member.objectValue != nil {
        patched[key] = configuration(member, experts: experts)
      }
      return patched
    }
    let names = family.huggingFace.experts.names
    let written = names.filter { config[$0] != nil }
    for name in written.isEmpty ? Array(names.prefix(1)) : written {
      patched[name] = .integer(experts)
    }
    return patched
  }
}
