// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// Gated delta nets (arXiv 2412.06464): linear attention whose state forgets, and is corrected by
/// what it predicts wrongly.
package struct GatedDeltaTraits: Sendable {
  package var keyHeads = Key("linear_num_key_heads", default: 16)
  package var valueHeads = Key("linear_num_value_heads", default: 32)
  package var keySize = Key("linear_key_head_dim", default: 128)
  package var valueSize = Key("linear_value_head_dim", default: 128)
  package var kernel = Key("linear_conv_kernel_dim", default: 4)
  /// Every so many layers one has attention, where `layer_types` is not there.
  package var interval = Key("full_attention_interval", default: 4)
  /// Queries, keys, values and gates are in one matrix, key head by key head, and so are the
  /// strengths and decays; in GGUF files these alone are.
  package var joinsByKeyHead = false
  /// llama.cpp's converter has the value heads of a key head stand as far apart as there are key
  /// heads, instead of side by side.
  package var ggufSpreadsValueHeads = false
}

extension GatedDeltaTraits {
  /// Which of `count` layers have attention instead.
  package func attentionLayers(
    count: Int, _ settings: inout Settings, isGGUF: Bool
  ) throws(RegateError) -> [Bool] {
    let listed =
      isGGUF
      ? try ggufLayers(count: count, settings) : try listedLayers(count: count, settings)
    if let listed { return listed }
    let interval = try settings.required(interval, minimum: 1)
    return (1...count).map { $0 % interval == 0 }
  }

  private func listedLayers(
    count: Int, _ settings: Settings
  ) throws(RegateError) -> [Bool]? {
    guard settings.text(of: "layer_types") ?? "null" != "null" else { return nil }
    let types = settings.strings("layer_types") ?? []
    guard types.count == count,
      types.allSatisfy({ ["linear_attention", "full_attention"].contains($0) })
    else {
      throw settings.mismatch(
        "layer_types", "expected linear_attention or full_attention for each of \(count) layers")
    }
    return types.map { $0 == "full_attention" }
  }

  /// llama.cpp's list has layers for multi-token prediction too.
  private func ggufLayers(count: Int, _ settings: Settings) throws(RegateError) -> [Bool]? {
    let key = "attention.recurrent_layers"
    guard settings.has(key) else { return nil }
    guard let recurs = settings.flags(key), recurs.count >= count else {
      throw settings.mismatch(key, "expected true or false for each of \(count) layers")
    }
    return recurs.prefix(count).map { !$0 }
  }
}
