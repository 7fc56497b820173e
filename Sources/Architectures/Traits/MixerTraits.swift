// SPDX-License-Identifier: Apache-2.0
//
// How the families' tokens see one another (transformers 5.23; llama.cpp 0.5.0-dev for GGUF). What
// is particular to a family's mixers is data here; a kind's computation is under Inference/Mixers.

package import ByteStorage

/// The kind of a family's token mixers, and what is particular to them.
package enum MixerTraits: Sendable {
  case groupedQuery(GroupedQueryTraits)
  case latent(LatentAttentionTraits)
  /// Gated delta nets, and attention on the layers that `layer_types` names, or on every n-th.
  case hybrid(GatedDeltaTraits, GroupedQueryTraits)

  /// Attention with shared key heads, on all layers or some.
  package var groupedQuery: GroupedQueryTraits? {
    switch self {
    case .groupedQuery(let traits), .hybrid(_, let traits): traits
    case .latent: nil
    }
  }
}

/// Attention in which query heads share key and value heads.
package struct GroupedQueryTraits: Sendable {
  package enum QueryKeyNorm: Sendable {
    case none
    /// Over each head, before the rotation.
    case perHead
    /// Over each head, where a key says so.
    case perHeadIf(Key<Bool>)
    /// Over the whole projected width.
    case wholeWidth
  }

  package enum SlidingWindow: Sendable {
    case none
    /// Wherever the key is set.
    case always(Key<Int>)
    /// The key's where `use_sliding_window` is set.
    case switched(Key<Int>)
    /// The same, on even layers below `max_window_layers`, or on those that `layer_types` names.
    case switchedOnEvenLayers(Key<Int>)
    /// The key's on the layers that `layer_types` names, or from layer `first` on.
    case last(Key<Int>, first: Key<Int>)
    /// The key's on the layers that `layer_types` names, or on even ones; in GGUF files too.
    case alternating(Key<Int>)
    /// The key's on the layers that are not global; in GGUF files too.
    case unlessGlobal(Key<Int>)

    /// The key of a window that some of `layers` layers have in transformers, and none in
    /// llama.cpp.
    func ignoredByLlamaCpp(_ settings: Settings, layers: Int) -> Key<Int>? {
      switch self {
      case .none, .alternating, .unlessGlobal: nil
      case .always(let key): key
      case .switched(let key), .switchedOnEvenLayers(let key):
        settings.text(of: "use_sliding_window") == "true" ? key : nil
      case .last(let key, let first):
        if let types = settings.strings("layer_types") {
          types.contains("sliding_attention") ? key : nil
        } else {
          (Int(settings.text(of: first.names[0]) ?? "") ?? first.fallback ?? 0) < layers ? key : nil
        }
      }
    }
  }

  /// The number of key and value heads; nothing: that of the query heads.
  package var keyHeads: Key<Int>
  /// Nothing: the hidden size, shared out among the query heads.
  package var headSize = Key<Int>("head_dim", default: nil)
  /// Multiplies the scores; nil: one over the root of the head size.
  package var scale: Key<Double>?
  /// The same in GGUF files, where 0 is that root.
  package var ggufScale: Key<Double>?
  package var norm = QueryKeyNorm.none
  package var biases = ProjectionBiases()
  package var window = SlidingWindow.none
  /// Values are normalised too, each head, without a weight.
  package var normsValues = false
  /// What the layers without a window have otherwise; nil: nothing.
  package var global: GlobalAttentionTraits?
  /// Each head's query rows are followed by as many of a gate, whose sigmoid weighs its context.
  package var gatesContext = false
  /// A learned sink for each query head takes part in its softmax.
  package var sinks = false
  package var rope = RopeTraits()
}

/// Multi-head latent attention (DeepSeek): queries, keys and values are expanded from bottlenecks,
/// and a part of each head alone is rotated.
package struct LatentAttentionTraits: Sendable {
  package var sizes = LatentSizes()
  package var biases = ProjectionBiases()
  /// A second key that transformers takes the size of the rotated part from.
  package var rotatedSize: String?
  /// `partial_rotary_factor` is the rotated part of the whole head, not of itself.
  package var rotatesPartOfHead = false
  package var rope = RopeTraits()
  package var indexer: SparseIndexer?
}

/// The keys of latent attention's sizes.
package struct LatentSizes: Sendable {
  package var nope: Key<Int>
  package var rotated = Key("qk_rope_head_dim", default: 64)
  package var value: Key<Int>
  /// Without a value, queries are projected without a bottleneck.
  package var queryRank: Key<Int>
  package var keyRank: Key<Int>

  /// With the defaults of a class.
  init(nope: Int = 128, value: Int = 128, queryRank: Int = 1536, keyRank: Int = 512) {
    self.nope = Key("qk_nope_head_dim", default: nope)
    self.value = Key("v_head_dim", default: value)
    self.queryRank = Key("q_lora_rank", default: queryRank, null: .means(nil))
    self.keyRank = Key("kv_lora_rank", default: keyRank)
  }
}

/// The sparse attention of DeepSeek-V3.2: an indexer keeps so many keys for each query. Sequences
/// that are no longer keep all, and dense attention is exact.
package struct SparseIndexer: Sendable {
  package var keptKeys = Key("index_topk", default: 2048)
  package var ggufKeptKeys = Key<Int>("attention.indexer.top_k", default: nil)
  package var heads: Key<Int>
  package var headSize = Key("index_head_dim", default: 128)
  /// Layers may take what an earlier one's indexer kept (`indexer_types`), and have none then.
  package var isShared = false

  /// The layers that take what an earlier one's kept, as llama.cpp reads a file (glm-dsa.cpp):
  /// unless the file says which, those of GLM-5.2, which it knows by the context.
  package static func ggufSharing(
    count: Int, _ settings: inout Settings
  ) throws(RegateError) -> Set<Int> {
    let types = "attention.indexer.types"
    let listed = settings.flags(types) ?? settings.numbers(types)?.map { $0 != 0 }
    if let listed {
      guard listed.count == count else {
        throw settings.mismatch(
          types, "has \(listed.count) values, but the model has \(count) layers")
      }
      return Set(listed.indices.filter { !listed[$0] })
    }
    if let ofAll = try settings.integer(Key(types, default: nil)) {
      return ofAll == 0 ? Set(0..<count) : []
    }
    let context = try settings.integer(Key("context_length", default: nil)) ?? 0
    guard context >= 1 << 20 else { return [] }
    return Set((0..<count).filter { $0 > 2 && $0 % 4 != 2 })
  }
}

/// Which projections have biases in safetensors files; GGUF files tell by what they hold.
package struct ProjectionBiases: Sendable {
  /// The key that gives them to the input projections; nil: never.
  package var key: Key<Bool>?
  /// Whether the output projection has one where the others have.
  package var output = false
}

/// How llama.cpp shares out the rotated pairs among four positions of a token, the last of which is
/// always 0 in text.
package enum PositionSections: Sendable {
  /// There is one position.
  case none
  /// The first three take pairs by turns, each as many as its section says; the last has the
  /// others.
  case byTurns
  /// Each has as many neighbours as its section says, in files whose first two have some.
  case inRow
}

/// How a family rotates queries and keys.
/// How a family rotates queries and keys.
package struct RopeTraits: Sendable {
  /// Rotated pairs are (2i, 2i + 1) instead of (i, i + d/2).
  package var interleaved = Switch.fixed(false)
  /// The same in GGUF files, whose converter may have moved the rows.
  package var ggufInterleaved = false
  package var ggufSections = PositionSections.none
  /// llama.cpp stops where `rope.dimension_count` is not the key length.
  package var ggufRotatesWholeHeads = false
  package var defaultTheta = 10_000.0
  /// The part of a head that is rotated where no key says so; nil: always whole heads.
  package var partialRotation: Double?
  /// The class reads that part although it can rotate whole heads alone.
  package var readsPart = false
  /// The key of the number of rotated dimensions, where `partial_rotary_factor` is not there.
  package var rotatedSize: Key<Int>?
  /// transformers multiplies the attention's scores by YaRN's scale for `mscale_all_dim`.
  package var growsSoftmax = false
  /// llama.cpp reads `rope.scaling.yarn_log_multiplier` for this architecture.
  package var readsYarnLogMultiplier = false
  /// There it takes `mscale` to equal `mscale_all_dim`; otherwise to be 1.
  package var ggufEqualsScales = false
  /// `llama_4_scaling_beta` makes queries grow with their position.
  package var growsQueries = false
  /// The same of `attention.temperature_scale` in GGUF files.
  package var ggufGrowsQueries = false
  /// The key of what longrope multiplies cosines and sines by, in place of its attention factor;
  /// other scaled kinds are not known then.
  package var longRopeMultiplier: String?
  /// The class scales by values of its own where the file has none, which Regate does not take.
  package var needsParameters = false
}
