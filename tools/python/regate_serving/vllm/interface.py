# SPDX-License-Identifier: Apache-2.0
"""All that the plugin takes from vLLM; what is private there may change with any version.

public   entry point group `vllm.general_plugins`; `ModelRegistry.register_model`
private  the names below; constructors `(*, vllm_config, prefix)` and `load_weights(weights)` of the
         model classes; `model.layers`; `.gate` and `.experts` of their MoE blocks, `.experts.gate`
         where the experts hold the gate, each called as `logits, _ = gate(x)`;
         `.gate.e_score_correction_bias`; in configurations `model_type` (it decides on latent
         attention), `moe_router_dtype`, `scoring_func`, `topk_method`, `topk_group`
"""

from ..versions import UnknownVersion, lookup, sentence

TESTED = "0.31 and 0.32"
MODELS = "vllm.model_executor.models"


def configuration_registry():
    """vLLM's table of configuration classes by model_type."""
    name = "vllm.transformers_utils.config:_CONFIG_REGISTRY"
    return lookup("vllm", TESTED, [name])["_CONFIG_REGISTRY"]


def model_classes():
    return lookup("vllm", TESTED, [
        MODELS + ".mixtral:MixtralForCausalLM",
        MODELS + ".qwen3_moe:Qwen3MoeForCausalLM",
        MODELS + ".deepseek_v2:DeepseekV2ForCausalLM",
        MODELS + ".deepseek_v2:DeepseekV3ForCausalLM",
    ])


def replace_gate(block, gate):
    """Puts `gate` into a MoE block, and into its experts, where they hold the gate too."""
    old = getattr(block, "gate", None)
    if old is None or not hasattr(block, "experts"):
        raise UnknownVersion(sentence("vllm", TESTED, "keeps no gate in its MoE blocks"))
    block.gate = gate
    if getattr(block.experts, "gate", None) is old:
        block.experts.gate = gate
    if any(module is old for module in block.modules()):
        raise UnknownVersion(sentence("vllm", TESTED, "keeps a second hold of a MoE block's gate"))
    # The selection bias is part of the new gate; the experts hold the old one's and add it.
    return getattr(old, "e_score_correction_bias", None)
