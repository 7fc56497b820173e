// SPDX-License-Identifier: Apache-2.0
//
// Linear attention by the gated delta rule, as Qwen has it: queries, keys and values pass a causal
// convolution over the last tokens, queries and keys are brought to length 1, and outputs are
// normalised and weighed by silu of a gate. Its weights and their use are in +Layer, the rule
// itself in DeltaRule.

import Architectures
import ByteStorage
import Checkpoints
import Tensors

/// The gated delta net of one layer.
struct GatedDeltaNet: TokenMixer {
  let hiddenSize: Int
  let keyHeads: Int
  /// A multiple of the key heads.
  let valueHeads: Int
  let keySize: Int
  let valueSize: Int
  /// Tokens that the convolution sees.
  let kernel: Int
  /// Of the norm over outputs, and of the lengths of queries and keys.
  let epsilon: Float
  let lengthEpsilon: Float
  /// The value heads of a key head stand as far apart as there are key heads.
  let spreadsValueHeads: Bool

  /// Width of all key heads and of all value heads.
  var keys: Int { keyHeads * keySize }
  var values: Int { valueHeads * valueSize }
  /// Queries, keys and values: what the convolution runs over.
  var channels: Int { 2 * keys + values }
  /// Value heads to a key head.
  var sharing: Int { valueHeads / keyHeads }

  /// The channels, the gate, and a strength and a decay for each value head.
  var floatsPerToken: Int { channels + values + 2 * valueHeads }

  func bufferBytes(tokens: Int) -> Int {
    MixerBlocks.bytes(tokens: tokens, floatsPerToken: floatsPerToken)
  }

  func weightBytes(layer: Int, in reader: WeightReader) -> Int {
    let isJoined = reader.has(.deltaJoined, layer: layer)
    let inputs: [WeightReader.Size] =
      isJoined
      ? [(.deltaJoined, channels + values, hiddenSize)]
      : [(.deltaInputs, channels, hiddenSize), (.deltaGate, values, hiddenSize)]
    return reader.bytes(of: inputs + [(.deltaOutput, hiddenSize, values)], layer: layer)
  }

  func load(
    layer: Int, from reader: WeightReader, ropes: RopeTables, threads: Int
  ) throws(RegateError) -> any LoadedMixer {
    try Layer(self, layer: layer, reader, threads: threads)
  }

  /// The value heads that share a key head.
  func valueHeads(of keyHead: Int) -> [Int] {
    (0..<sharing).map {
      spreadsValueHeads ? $0 * keyHeads + keyHead : keyHead * sharing + $0
    }
  }
}

// MARK: Settings

extension GatedDeltaNet {
  init(_ traits: GatedDeltaTraits, _ source: inout MixerSettings) throws(RegateError) {
    hiddenSize = source.hiddenSize
    epsilon = source.epsilon
    let (keyKey, valueKey): (Key<Int>, Key<Int>)
    if source.isGGUF {
      (keyKey, valueKey) = (
        Key("ssm.group_count", default: nil), Key("ssm.time_step_rank", default: nil)
      )
      keySize = try source.settings.required(Key("ssm.state_size", default: nil), minimum: 1)
      kernel = try source.settings.required(Key("ssm.conv_kernel", default: nil), minimum: 1)
      valueSize = keySize
      // llama.cpp's length is that of the norms.
      lengthEpsilon = source.epsilon
      spreadsValueHeads = traits.ggufSpreadsValueHeads
    } else {
      (keyKey, valueKey) = (traits.keyHeads, traits.valueHeads)
      keySize = try source.settings.required(traits.keySize, minimum: 1)
      valueSize = try source.settings.required(traits.valueSize, minimum: 1)
      kernel = try source.settings.required(traits.kernel, minimum: 1)
      lengthEpsilon = 1e-6
      spreadsValueHeads = false
    }
    keyHeads = try source.settings.required(keyKey, minimum: 1)
    valueHeads = try source.settings.required(valueKey, minimum: 1)
    guard valueHeads % keyHeads == 0 else {
      throw source.settings.mismatch(
        valueKey.names[0], "is \(valueHeads), which is no multiple of the \(keyHeads) key heads")
    }
    if source.isGGUF {
      let inner = try source.settings.required(Key("ssm.inner_size", default: nil))
      guard inner == values else {
        throw source.settings.mismatch(
          "ssm.inner_size",
          "is \(inner), expected \(values): \(valueHeads) heads of \(valueSize)")
      }
    }
  }
}
