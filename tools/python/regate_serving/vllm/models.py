# SPDX-License-Identifier: Apache-2.0
"""vLLM's own model classes with the gates of the prototype form."""

from ..checkpoint import Gates, check_ranks
from .interface import model_classes, replace_gate

CLASSES = model_classes()


class PrototypeModel:
    """What every class below adds to vLLM's."""

    def __init__(self, *, vllm_config, prefix=""):
        config, parallel = vllm_config.model_config.hf_config, vllm_config.parallel_config
        if parallel.enable_expert_parallel:
            ranks = parallel.tensor_parallel_size * parallel.data_parallel_size
            redundant = parallel.eplb_config.num_redundant_experts if parallel.enable_eplb else 0
            check_ranks(config.routing_rule().experts, redundant, ranks)
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        self.biases = []

        def replace(block, gate):
            bias = replace_gate(block, gate)
            if bias is not None:
                self.biases.append(bias.data.zero_())

        self.gates = Gates(self.model.layers, config, replace)

    def load_weights(self, weights):
        loaded, own = self.gates.load(weights, super().load_weights)
        # No checkpoint of the form has these; vLLM looks for parameters that were not loaded.
        pointers = {bias.data_ptr() for bias in self.biases}
        zeroed = {n for n, p in self.named_parameters() if p.data_ptr() in pointers}
        return loaded | own | zeroed


class RegateMixtralForCausalLM(PrototypeModel, CLASSES["MixtralForCausalLM"]):
    pass


class RegateQwen3MoeForCausalLM(PrototypeModel, CLASSES["Qwen3MoeForCausalLM"]):
    def __init__(self, *, vllm_config, prefix=""):
        if not vllm_config.model_config.hf_config.norm_topk_prob:
            raise ValueError(
                "config.json: norm_topk_prob is false, and vLLM's class of this family then weighs "
                "experts by a softmax over all of them, which no logits bring to the form's "
                "weights: serve with --model-impl transformers --trust-remote-code"
            )
        super().__init__(vllm_config=vllm_config, prefix=prefix)


class RegateDeepseekV2ForCausalLM(PrototypeModel, CLASSES["DeepseekV2ForCausalLM"]):
    pass


class RegateDeepseekV3ForCausalLM(PrototypeModel, CLASSES["DeepseekV3ForCausalLM"]):
    pass
