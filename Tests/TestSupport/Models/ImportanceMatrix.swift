// SPDX-License-Identifier: Apache-2.0

/// llama.cpp's importance matrix of a model of that hidden size and expert width, with the same
/// counts in every layer; the sums are all ones.
public func importanceMatrix(
  layers: [Int], counts: [Float], hidden: Int, width: Int
) -> [UInt8] {
  var draft = GGUFDraft(keys: [
    GGUFDraft.pair("general.type", 8, GGUFDraft.string("imatrix")),
    GGUFDraft.pair("imatrix.chunk_count", 4, GGUFDraft.number(UInt32(1))),
    GGUFDraft.pair("imatrix.chunk_size", 4, GGUFDraft.number(UInt32(512))),
  ])
  var data: [UInt8] = []
  for layer in layers {
    for (part, inputs) in [("gate", hidden), ("up", hidden), ("down", width)] {
      let ones = [Float](repeating: 1, count: counts.count * inputs)
      for (suffix, shape, values) in [
        ("in_sum2", [Int64(inputs), Int64(counts.count)], ones),
        ("counts", [1, Int64(counts.count)], counts),
      ] {
        draft.tensors.append(
          GGUFDraft.tensor(
            "blk.\(layer).ffn_\(part)_exps.weight.\(suffix)", shape, type: 0,
            offset: UInt64(data.count)))
        data += PlainType.f32.bytes(values)
        data += [UInt8](repeating: 0, count: (32 - data.count % 32) % 32)
      }
    }
  }
  return draft.bytes + data
}
