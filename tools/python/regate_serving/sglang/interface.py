# SPDX-License-Identifier: Apache-2.0
"""All that the package takes from SGLang; what is private there may change with any version.

public   SGLANG_EXTERNAL_MODEL_PACKAGE, `EntryClass`
private  the names below; constructors `(config, quant_config=None, prefix="")` and
         `load_weights(weights)` of the model classes; `model.layers`; `.gate`, called as
         `logits, _ = gate(x)`, and `.topk` of their MoE blocks; `get_parallel().moe_ep_size`,
         `get_exec().moe.ep_num_redundant_experts`
"""

from ..versions import UnknownVersion, lookup, sentence

TESTED = "0.5.23"


def model_classes():
    return lookup("sglang", TESTED, [
        "sglang.srt.models.mixtral:MixtralForCausalLM",
        "sglang.srt.models.qwen3_moe:Qwen3MoeForCausalLM",
    ])


def ranks_and_redundant_experts():
    context = lookup("sglang", TESTED, [
        "sglang.srt.runtime_context:get_parallel", "sglang.srt.runtime_context:get_exec",
    ])
    redundant = context["get_exec"]().moe.ep_num_redundant_experts
    return context["get_parallel"]().moe_ep_size, redundant


def replace_gate(block, gate):
    """Puts `gate` into a MoE block."""
    old = getattr(block, "gate", None)
    if old is None or not hasattr(block, "topk"):
        raise UnknownVersion(sentence("sglang", TESTED, "keeps no gate in its MoE blocks"))
    block.gate = gate
    if any(module is old for module in block.modules()):
        what = "keeps a second hold of a MoE block's gate"
        raise UnknownVersion(sentence("sglang", TESTED, what))
