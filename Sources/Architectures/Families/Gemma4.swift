// SPDX-License-Identifier: Apache-2.0
//
// The language model of Gemma 4's mixture of experts, 26B-A4B (Google). Its dense models have no
// experts; layers with inputs of their own and layers that share keys and values, which those have,
// are not run. The vision tower is left alone.

import ByteStorage
import Routing

extension Family {
  static let gemma4 = Family(
    name: "gemma4", title: "Gemma-4", activation: .geluTanh,
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 4), headSize: Key("head_dim", default: 256),
        // Of queries and keys with norms.
        scale: Key([], default: 1), ggufScale: Key([], default: 1), norm: .perHead,
        biases: .attentionBias(output: true),
        window: .unlessGlobal(Key("sliding_window", default: 512)), normsValues: true,
        global: GlobalAttentionTraits())),
    layerForm: .branched, scalesEmbedding: true,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["gemma4_text"],
      architectures: ["Gemma4ForConditionalGeneration", "Gemma4ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2304, layers: 30, heads: 8, vocabulary: 262_144, context: 131_072,
        epsilon: 1e-6),
      experts: Key("num_experts", default: nil), topK: Key("top_k_experts", default: nil),
      expertWidth: .expertWidth(default: nil), sharedExperts: nil,
      sharedWidth: .denseWidth(default: 9216), sparsity: .all,
      names: TensorNames(
        gate: ["router.proj.weight"], router: ["router."], routerScale: ["router.scale"],
        expertNorm: ["pre_feedforward_layernorm_2.weight"],
        outputScale: ["router.per_expert_scale"], containers: ["experts"], shared: ["mlp"],
        published: .fused),
      routing: .softmax(normalise: .fixed(true)),
      logitCap: .optional("final_logit_softcapping"),
      hasExperts: Key("enable_moe_block", default: false),
      made: ClassTraits(
        fields: fields, words: ["use_bidirectional_attention": ["all", "vision"]],
        shared: .ofWidth("mlp"), tiesHead: true),
      uncomputed: [
        UncomputedKey("hidden_size_per_layer_input", off: ["0"], absent: "256", creates: true),
        UncomputedKey("num_kv_shared_layers", off: ["0"], creates: true),
        UncomputedKey("use_bidirectional_attention", off: ["null", "\"vision\""]),
        // Stands for `rope_parameters`, with which the class then stops.
        UncomputedKey("rope_scaling", off: ["null"]),
      ],
      caveats: [lastLayer, ggufRotation]),
    gguf: GGUFTraits(
      architecture: "gemma4", fusedGateUp: true, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      // Where transformers has none, its converter writes no key.
      logitCap: Key("final_logit_softcapping", default: 30),
      made: GGUFClassTraits(
        wasRun: true, rotatesWholeHeads: false, headNorms: .perHead, rotationFactors: .required,
        shared: .dense,
        required: [
          "attention.sliding_window": .u32, "attention.sliding_window_pattern": .flags,
          "attention.key_length_swa": .u32, "attention.value_length_swa": .u32,
          "embedding_length_per_layer_input": .u32,
        ],
        optional: [
          "attention.shared_kv_layers": .u32, "expert_feed_forward_length": .u32PerLayer,
          "final_logit_softcapping": .f32, "rope.freq_base_swa": .f32,
          "rope.dimension_count_swa": .u32,
        ]),
      uncomputed: [
        UncomputedKey("embedding_length_per_layer_input", off: ["0"]),
        UncomputedKey("attention.shared_kv_layers", off: ["0"]),
        // Layers with a window take a part of it.
        UncomputedKey("rope.scaling.type", off: ["\"none\"", "\"linear\""]),
        UncomputedKey("rope.scaling.attn_factor", off: ["1.0"]),
      ]),
    forms: FormTraits(
      classPrefix: "RegateGemma4Text",
      wrapper: WrapperClasses(modelType: "gemma4", classPrefix: "RegateGemma4")),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))

  private static let fields: [String: FieldTypes] = [
    "attention_bias": .flag, "attention_dropout": [.null, .integer, .number],
    "attention_k_eq_v": .flag, "enable_moe_block": .flag,
    "final_logit_softcapping": [.null, .number], "hidden_activation": .text,
    "hidden_size_per_layer_input": .integer, "moe_intermediate_size": .optionalInteger,
    "num_experts": .optionalInteger, "num_experts_per_tok": .any, "num_kv_shared_layers": .integer,
    "sliding_window": .integer,
    "top_k_experts": .optionalInteger, "use_bidirectional_attention": [.null, .text],
    "use_double_wide_mlp": .flag, "vocab_size_per_layer_input": .integer,
  ]

  private static let lastLayer: Caveat = { subject in
    guard let last = subject.settings.strings("layer_types")?.last, last != "full_attention" else {
      return nil
    }
    return "\(subject.name("layer_types")) ends with \(last): transformers makes the last layer"
      + " full_attention all the same, llama.cpp's converter does not"
  }

  /// The converter writes what the class has by default.
  private static let ggufRotation: Caveat = { subject in
    let rotation = subject.settings.nested("rope_parameters")?.nested("full_attention")
    guard let kind = rotation?.text(of: "rope_type"), kind != "\"proportional\"" else { return nil }
    return "\(subject.name("rope_parameters")).full_attention.rope_type is \(kind): llama.cpp's"
      + " converter takes only \"proportional\""
  }
}
