// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import OrderedCollections

extension GGUFParameters {
  mutating func readAttention(_ prefix: String, isOptional: Bool) {
    let size = made.headsAreRotated ? sizes.rotated : sizes.keySize
    let queries = made.queriesAreHidden ? hidden : sizes.heads * size
    let keys = (made.keysHaveAllHeads ? sizes.heads : sizes.keyHeads) * size
    let gates = layout.family.mixer?.groupedQuery?.gatesContext == true ? queries : 0
    addInputs(prefix, queries: queries + gates, keys: keys, isOptional: isOptional)
    addMatrix(prefix + "attn_output", hidden, queries, isOptional: isOptional)
    add(prefix + "attn_output.bias", [hidden], made.outputProjectionBias, isOptional: isOptional)
    if made.sinks { add(prefix + "attn_sinks.weight", [sizes.heads]) }
    let norms: (queries: Int, keys: Int)
    switch made.headNorms {
    case .none: return
    case .perHead, .perHeadIfStored: norms = (sizes.keySize, sizes.keySize)
    case .hidden: norms = (hidden, hidden)
    case .wholeWidth: norms = (queries, keys)
    }
    let mayLack = isOptional || made.headNorms == .perHeadIfStored
    add(prefix + "attn_q_norm.weight", [norms.queries], isOptional: mayLack)
    add(prefix + "attn_k_norm.weight", [norms.keys], isOptional: mayLack)
  }

  /// Attention with sizes of its own, and without biases.
  mutating func readAttention(_ prefix: String, _ layer: GlobalAttentionTraits.Layer) {
    let queries = sizes.heads * layer.headSize
    let keys = layer.keyHeads * layer.headSize
    let joined = Parameter.Piece(prefix + "attn_qkv.weight", [queries + 2 * keys, hidden])
    let parts =
      [("attn_q", queries), ("attn_k", keys)] + (layer.sharesValues ? [] : [("attn_v", keys)])
    let separate = parts.map { Parameter.Piece("\(prefix)\($0.0).weight", [$0.1, hidden]) }
    add([separate, [joined]], isOptional: false)
    for (stem, _) in parts + [("attn_qkv", 0)] { addScales(prefix + stem) }
    addMatrix(prefix + "attn_output", hidden, queries)
    add(prefix + "attn_q_norm.weight", [layer.headSize])
    add(prefix + "attn_k_norm.weight", [layer.headSize])
  }

  /// What a branched layer has beside the parts of all.
  mutating func readBranches(_ prefix: String) {
    let norms = [
      "post_attention_norm", "post_ffw_norm", "post_ffw_norm_1", "post_ffw_norm_2",
      "pre_ffw_norm_2",
    ]
    for norm in norms { addNorm(prefix + norm) }
    add(prefix + "layer_output_scale.weight", [1], isOptional: true)
    add(prefix + "ffn_gate_inp.scale", [hidden])
    guard sizes.inputWidth > 0 else { return }
    addMatrix(prefix + "inp_gate", sizes.inputWidth, hidden)
    addMatrix(prefix + "proj", hidden, sizes.inputWidth)
    addNorm(prefix + "post_norm")
  }

  /// What makes the inputs that each layer has of its own.
  mutating func readInputs() {
    let (width, overflow) = sizes.inputWidth.multipliedReportingOverflow(by: layout.layerCount)
    guard !overflow else { return }
    add("per_layer_token_embd.weight", [sizes.vocabulary, width])
    add("per_layer_model_proj.weight", [width, hidden])
    add("per_layer_proj_norm.weight", [sizes.inputWidth])
  }

  /// Queries, keys and values, in one matrix or in three.
  private mutating func addInputs(
    _ prefix: String, queries: Int, keys: Int, isOptional: Bool
  ) {
    let joined = Parameter.Piece(
      prefix + "attn_qkv.weight", [queries + 2 * keys, hidden])
    let parts = [("attn_q", queries), ("attn_k", keys), ("attn_v", keys)]
    let separate = parts.map { Parameter.Piece("\(prefix)\($0.0).weight", [$0.1, hidden]) }
    add([separate, [joined]], isOptional: isOptional)
    for (stem, rows) in parts {
      add("\(prefix)\(stem).bias", [rows], isOptional: true)
      addScales(prefix + stem)
    }
    if checkpoint.tensors[joined.name] != nil {
      add(prefix + "attn_qkv.bias", [queries + 2 * keys], isOptional: true)
      addScales(prefix + "attn_qkv")
    }
  }

  /// Of llama.cpp's two forms of the inputs, the older one joins them with the gates.
  mutating func readDelta(_ delta: GatedDeltaTraits, _ prefix: String) {
    let (heads, values) = (sizes.deltaHeads, sizes.deltaHeads * sizes.deltaSize)
    let channels = 2 * sizes.deltaKeyHeads * sizes.deltaSize + values
    let inputs = Parameter.Piece(prefix + "attn_qkv.weight", [channels, hidden])
    let gates = Parameter.Piece(prefix + "attn_gate.weight", [values, hidden])
    let joined = Parameter.Piece(prefix + "ssm_in.weight", [channels + values, hidden])
    add(
      delta.joinsByKeyHead ? [[inputs, gates], [joined]] : [[inputs, gates]], isOptional: false)
    add(prefix + "ssm_conv1d.weight", [channels, sizes.deltaKernel])
    add(prefix + "ssm_dt.bias", [heads])
    add(prefix + "ssm_a", [heads])
    let rates =
      delta.joinsByKeyHead ? [("ssm_ba", 2 * heads)] : [("ssm_beta", heads), ("ssm_alpha", heads)]
    for (stem, rows) in rates { add("\(prefix)\(stem).weight", [rows, hidden]) }
    add(prefix + "ssm_norm.weight", [sizes.deltaSize])
    addMatrix(prefix + "ssm_out", hidden, values)
  }

  mutating func readLatent(_ index: Int, isOptional: Bool) {
    let prefix = "blk.\(index)."
    let (heads, rank) = (sizes.heads, sizes.keyRank)
    let key = sizes.split?.key ?? sizes.keySize
    let value = sizes.split?.value ?? sizes.valueSize
    let nope = key - sizes.rotated
    if sizes.queryRank > 0 {
      add(prefix + "attn_q_a_norm.weight", [sizes.queryRank], isOptional: isOptional)
      add(prefix + "attn_q_a.weight", [sizes.queryRank, hidden], isOptional: isOptional)
      add(prefix + "attn_q_b.weight", [heads * key, sizes.queryRank], isOptional: isOptional)
    } else {
      addMatrix(prefix + "attn_q", heads * key, hidden, isOptional: isOptional)
    }
    add(prefix + "attn_kv_a_norm.weight", [rank], isOptional: isOptional)
    add(prefix + "attn_kv_a_mqa.weight", [rank + sizes.rotated, hidden], isOptional: isOptional)
    if sizes.split != nil {
      add(prefix + "attn_k_b.weight", [heads, rank, nope], isOptional: isOptional)
      add(prefix + "attn_v_b.weight", [heads, value, rank], isOptional: isOptional)
    } else {
      add(prefix + "attn_kv_b.weight", [heads * (nope + value), rank], isOptional: isOptional)
    }
    addMatrix(prefix + "attn_output", hidden, heads * value, isOptional: isOptional)
    if case .latent(let latent) = layout.family.mixer, let indexer = latent.indexer {
      let lacks = indexer.isShared && (unindexed.contains(index) || index >= layout.layerCount)
      readIndexer(prefix + "indexer.", isOptional: isOptional || lacks)
    }
  }

  private mutating func readIndexer(_ prefix: String, isOptional: Bool) {
    let size = sizes.indexerHeadSize
    add(prefix + "k_norm.weight", [size], isOptional: isOptional)
    add(prefix + "k_norm.bias", [size], isOptional: isOptional)
    add(prefix + "proj.weight", [sizes.indexerHeads, hidden], isOptional: isOptional)
    add(prefix + "attn_k.weight", [size, hidden], isOptional: isOptional)
    add(
      prefix + "attn_q_b.weight", [sizes.indexerHeads * size, sizes.queryRank],
      isOptional: isOptional)
  }

  mutating func readExperts(_ prefix: String, isOptional: Bool) {
    let (experts, width) = (sizes.experts, sizes.expertWidth)
    let traits = layout.family.gguf
    add(prefix + "ffn_gate_inp.weight", [experts, hidden], isOptional: isOptional)
    if traits.gateBias { add(prefix + "ffn_gate_inp.bias", [experts]) }
    switch traits.selectionBias {
    case .ignored: break
    case .optional: add(prefix + "exp_probs_b.bias", [experts], isOptional: true)
    case .expected: add(prefix + "exp_probs_b.bias", [experts], isOptional: isOptional)
    }
    let gate = Parameter.Piece(prefix + "ffn_gate_exps.weight", [experts, width, hidden])
    let up = Parameter.Piece(prefix + "ffn_up_exps.weight", [experts, width, hidden])
    if traits.fusedGateUp {
      let both = Parameter.Piece(
        prefix + "ffn_gate_up_exps.weight", [experts, 2 * width, hidden])
      add([[gate, up], [both]], isOptional: isOptional)
    } else {
      add([[gate]], isOptional: isOptional || made.gateIsOptional)
      add([[up]], isOptional: isOptional)
    }
    add(prefix + "ffn_down_exps.weight", [experts, hidden, width], isOptional: isOptional)
    for (stem, rows) in [
      ("ffn_gate_exps", width), ("ffn_up_exps", width), ("ffn_down_exps", hidden),
    ] {
      if made.expertBiases { add("\(prefix)\(stem).bias", [experts, rows]) }
      addScales(prefix + stem, [experts])
    }
    readShared(prefix, isOptional: isOptional)
  }

  mutating func readDense(_ prefix: String, isOptional: Bool) {
    addMatrix(prefix + "ffn_gate", sizes.denseWidth, hidden, isOptional: isOptional)
    addMatrix(prefix + "ffn_up", sizes.denseWidth, hidden, isOptional: isOptional)
    addMatrix(prefix + "ffn_down", hidden, sizes.denseWidth, isOptional: isOptional)
  }

  private mutating func readShared(_ prefix: String, isOptional: Bool) {
    let counted = sizes.expertWidth * sizes.sharedCount
    let width: Int
    switch made.shared {
    case .none: return
    case .dense: return readDense(prefix, isOptional: isOptional)
    case .counted: width = counted
    case .countedIfAny:
      guard counted > 0 else { return }
      width = counted
    case .byWidth:
      guard let stated = sizes.sharedWidth else { return }
      width = stated
    case .gated:
      width = sizes.sharedWidth ?? sizes.denseWidth
      add(prefix + "ffn_gate_inp_shexp.weight", [hidden])
    }
    addMatrix(prefix + "ffn_gate_shexp", width, hidden, isOptional: isOptional)
    addMatrix(prefix + "ffn_up_shexp", width, hidden, isOptional: isOptional)
    addMatrix(prefix + "ffn_down_shexp", hidden, width, isOptional: isOptional)
  }
}
