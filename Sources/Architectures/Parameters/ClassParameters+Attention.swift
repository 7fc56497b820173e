// SPDX-License-Identifier: Apache-2.0

import ByteStorage

extension ClassParameters {
  mutating func readMixer(_ layerPrefix: String, layer: Int) throws(RegateError) {
    if case .hybrid(let delta, _) = layout.family.mixer,
      try !delta.attentionLayers(count: layout.layerCount, &settings, isGGUF: false)[layer]
    {
      return try readDelta(delta, layerPrefix + "linear_attn.")
    }
    let prefix = layerPrefix + "self_attn."
    let heads = try settings.required(
      Key("num_attention_heads", default: traits.defaults.heads), minimum: 1)
    switch layout.family.mixer {
    case .latent(let latent):
      try readLatent(latent, heads: heads, prefix)
      if let indexer = latent.indexer {
        try readIndexer(indexer, latent.sizes.queryRank, layer: layer, prefix)
      }
    case .groupedQuery(let grouped), .hybrid(_, let grouped):
      try readGrouped(grouped, heads: heads, layer: layer, prefix)
    case nil: break
    }
  }

  /// The sizes of a layer's attention, and whether it has a matrix of values.
  private mutating func sizes(
    _ attention: GroupedQueryTraits, heads: Int, layer: Int
  ) throws(RegateError) -> (keyHeads: Int, size: Int, hasValues: Bool) {
    let keyHeads = try settings.integer(attention.keyHeads, minimum: 1) ?? heads
    let size = try settings.integer(attention.headSize, minimum: 1) ?? hidden / heads
    guard let global = attention.global else { return (keyHeads, size, true) }
    let own = try global.layers(
      count: layout.layerCount, usual: (size, keyHeads), &settings)[layer]
    return (own.keyHeads, own.headSize, !own.sharesValues)
  }

  private mutating func readGrouped(
    _ attention: GroupedQueryTraits, heads: Int, layer: Int, _ prefix: String
  ) throws(RegateError) {
    let (keyHeads, size, hasValues) = try sizes(attention, heads: heads, layer: layer)
    let inputs = try flag(attention.biases.key)
    let output = inputs && attention.biases.output
    let queries = attention.gatesContext ? 2 * heads * size : heads * size
    addLinear(prefix + "q_proj", queries, hidden, bias: inputs)
    addLinear(prefix + "k_proj", keyHeads * size, hidden, bias: inputs)
    if hasValues { addLinear(prefix + "v_proj", keyHeads * size, hidden, bias: inputs) }
    addLinear(prefix + "o_proj", hidden, heads * size, bias: output)
    if attention.sinks { add(prefix + "sinks", [heads]) }
    let widths: (queries: Int, keys: Int)
    switch attention.norm {
    case .none: return
    case .perHead: widths = (size, size)
    case .perHeadIf(let key):
      guard try flag(key) else { return }
      widths = (size, size)
    case .wholeWidth: widths = (heads * size, keyHeads * size)
    }
    add(prefix + "q_norm.weight", [widths.queries])
    add(prefix + "k_norm.weight", [widths.keys])
  }

  private mutating func readDelta(
    _ delta: GatedDeltaTraits, _ prefix: String
  ) throws(RegateError) {
    let keyHeads = try settings.required(delta.keyHeads, minimum: 1)
    let heads = try settings.required(delta.valueHeads, minimum: 1)
    let keys = keyHeads * (try settings.required(delta.keySize, minimum: 1))
    let size = try settings.required(delta.valueSize, minimum: 1)
    let kernel = try settings.required(delta.kernel, minimum: 1)
    let channels = 2 * keys + heads * size
    if delta.joinsByKeyHead {
      addLinear(prefix + "in_proj_qkvz", channels + heads * size, hidden)
      addLinear(prefix + "in_proj_ba", 2 * heads, hidden)
    } else {
      addLinear(prefix + "in_proj_qkv", channels, hidden)
      addLinear(prefix + "in_proj_z", heads * size, hidden)
      addLinear(prefix + "in_proj_b", heads, hidden)
      addLinear(prefix + "in_proj_a", heads, hidden)
    }
    add(prefix + "conv1d.weight", [channels, 1, kernel])
    add(prefix + "dt_bias", [heads])
    add(prefix + "A_log", [heads])
    add(prefix + "norm.weight", [size])
    addLinear(prefix + "out_proj", hidden, heads * size)
  }

  private mutating func readLatent(
    _ attention: LatentAttentionTraits, heads: Int, _ prefix: String
  ) throws(RegateError) {
    let sizes = attention.sizes
    let nope = try settings.required(sizes.nope)
    let rotated = try settings.required(sizes.rotated)
    let values = try settings.required(sizes.value)
    let rank = try settings.required(sizes.keyRank)
    let queryRank = try settings.integer(sizes.queryRank)
    let bias = try flag(attention.biases.key)
    let queries = heads * (nope + rotated)
    if let queryRank {
      addLinear(prefix + "q_a_proj", queryRank, hidden, bias: bias)
      add(prefix + "q_a_layernorm.weight", [queryRank])
      addLinear(prefix + "q_b_proj", queries, queryRank)
    } else {
      addLinear(prefix + "q_proj", queries, hidden)
    }
    addLinear(prefix + "kv_a_proj_with_mqa", rank + rotated, hidden, bias: bias)
    add(prefix + "kv_a_layernorm.weight", [rank])
    addLinear(prefix + "kv_b_proj", heads * (nope + values), rank)
    addLinear(prefix + "o_proj", hidden, heads * values, bias: bias)
  }

  /// Nothing where the layer takes what an earlier one's indexer kept.
  private mutating func readIndexer(
    _ indexer: SparseIndexer, _ queryRank: Key<Int>, layer: Int, _ prefix: String
  ) throws(RegateError) {
    if indexer.isShared, try sharesIndexer(layer) { return }
    let heads = try settings.required(indexer.heads, minimum: 1)
    let size = try settings.required(indexer.headSize, minimum: 1)
    let queryRank = try settings.required(queryRank, minimum: 1)
    let prefix = prefix + "indexer."
    addLinear(prefix + "wq_b", heads * size, queryRank)
    addLinear(prefix + "wk", size, hidden)
    add(prefix + "k_norm.weight", [size])
    add(prefix + "k_norm.bias", [size])
    addLinear(prefix + "weights_proj", heads, hidden)
  }

  /// Whether a layer takes what an earlier one's indexer kept: by `indexer_types`, a pattern of F
  /// and S, or from a layer on at all but every so many.
  private mutating func sharesIndexer(_ layer: Int) throws(RegateError) -> Bool {
    let pattern = "index_topk_pattern"
    var types = settings.strings("indexer_types") ?? settings.strings(pattern)
    if types == nil {
      types = try settings.string(.optional(pattern)).map {
        $0.map { $0 == "S" ? "shared" : "full" }
      }
    }
    if let types { return layer >= types.count || types[layer] == "shared" }
    let interval = max(try settings.integer(Key("index_topk_freq", default: 1)) ?? 1, 1)
    let offset = try settings.integer(Key("index_skip_topk_offset", default: 2)) ?? 2
    return max(layer - offset + 1, 0) % interval != 0
  }
}
