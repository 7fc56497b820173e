# SPDX-License-Identifier: Apache-2.0
"""SGLang's own model classes with the gates of the prototype form."""

from ..checkpoint import Gates, check_ranks
from .interface import model_classes, ranks_and_redundant_experts, replace_gate

CLASSES = model_classes()


class PrototypeModel:
    """What every class below adds to SGLang's."""

    def __init__(self, config, quant_config=None, prefix=""):
        ranks, redundant = ranks_and_redundant_experts()
        check_ranks(config.routing_rule().experts, redundant, ranks)
        super().__init__(config, quant_config=quant_config, prefix=prefix)
        self.gates = Gates(self.model.layers, config, replace_gate)

    def load_weights(self, weights):
        self.gates.load(weights, super().load_weights)


class RegateMixtralForCausalLM(PrototypeModel, CLASSES["MixtralForCausalLM"]):
    pass


class RegateQwen3MoeForCausalLM(PrototypeModel, CLASSES["Qwen3MoeForCausalLM"]):
    def __init__(self, config, quant_config=None, prefix=""):
        if not config.norm_topk_prob:
            raise ValueError(
                "config.json: norm_topk_prob is false, and SGLang's class of this family then "
                "weighs experts by a softmax over all of them, which no logits bring to the form's "
                "weights: serve without SGLANG_EXTERNAL_MODEL_PACKAGE"
            )
        super().__init__(config, quant_config=quant_config, prefix=prefix)


class NotServed:
    """DeepSeek: SGLang's gate of this family has fused kernels of its own, and no machine was at
    hand on which its attention runs."""

    def __init__(self, config, quant_config=None, prefix=""):
        raise ValueError(
            f"{config.architectures[0]}: the prototype form of DeepSeek is not served in SGLang: "
            "use vLLM, or convert with --router stock"
        )


class RegateDeepseekV2ForCausalLM(NotServed):
    pass


class RegateDeepseekV3ForCausalLM(NotServed):
    pass


EntryClass = [
    RegateMixtralForCausalLM,
    RegateQwen3MoeForCausalLM,
    RegateDeepseekV2ForCausalLM,
    RegateDeepseekV3ForCausalLM,
]
