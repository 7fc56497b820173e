# SPDX-License-Identifier: Apache-2.0
"""Configurations of models whose routers Regate replaced (prototype form, version 4).

A `config.json` of the prototype form is the original's with another `model_type`, an `auto_map` to
these files and an object `regate`: version, base_model_type, router, encoder, similarity and
latent_size (R of each MoE layer, by layer number). These keys switch on the losses of
`modeling_regate.py`; they are off unless set:

    regate_loss_coef          0.0   weight of the sum over layers of the router losses, in training
    regate_diversity_weight   1.0   latent vectors, and prototypes, apart from one another
    regate_diversity_type     orthogonal, cosine or euclidean
    regate_align_weight       0.05  prototypes towards the tokens they serve
    regate_kl_weight          0.01  latent Gaussians towards the standard one, where there are any
    regate_balance_weight     1.0   even load over physical experts
"""

from dataclasses import dataclass

import transformers
from transformers import DeepseekV2Config, DeepseekV3Config, MixtralConfig, Qwen3MoeConfig

VERSION = 4
ENCODERS = ("linear", "lpr")
SIMILARITIES = ("dot", "cosine", "gaussian", "mahalanobis", "cross_attention", "kl", "js",
                "hellinger", "wasserstein")
# What a Mixtral's `hidden_act` says on disk, so that stock classes stop; the real one is in
# `regate`. (Transformers 5's own Mixtral class would find no gate of a `regate_mixtral`, whose
# tensors it does not rename, and start with a random one instead of stopping at its shape.)
ACTIVATION_GUARD = "regate: load with trust_remote_code=True"
TRANSFORMERS_5 = int(transformers.__version__.split(".")[0]) >= 5

LOSS_KEYS = {
    "regate_loss_coef": 0.0,
    "regate_diversity_weight": 1.0,
    "regate_diversity_type": "orthogonal",
    "regate_align_weight": 0.05,
    "regate_kl_weight": 0.01,
    "regate_balance_weight": 1.0,
}


@dataclass(frozen=True)
class RoutingRule:
    """How a family turns the logits of E logical experts into K chosen ones and their weights."""

    experts: int
    top_k: int
    sigmoid: bool = False  # scores: sigmoid, or softmax over all experts ...
    of_chosen: bool = False  # ... or the logits, whose softmax over the chosen ones are the weights
    normalise: bool = False  # divide the chosen scores by their sum ...
    epsilon: float = 0.0  # ... plus this
    scale: float = 1.0
    groups: int = 1  # group-limited selection: this many groups of consecutive experts ...
    kept_groups: int = 1  # ... of which so many may be used
    top_two: bool = False  # a group's score: sum of its two best experts, or its best
    outside: float = float("-inf")  # what an expert outside the kept groups scores


def check(regate):
    """Refuses an object `regate` that these files do not know how to read."""
    version, form = regate.get("version"), (regate.get("encoder"), regate.get("similarity"))
    if version != VERSION:
        raise ValueError(
            f"config.json: regate.version is {version}, these files read {VERSION}: "
            "use the modelling files that Regate wrote beside the checkpoint"
        )
    if form[0] not in ENCODERS or form[1] not in SIMILARITIES:
        raise ValueError(
            f"config.json: regate.encoder and regate.similarity are {form}, which these files do "
            "not know: convert the original again"
        )


def prepared(keys, experts_key):
    """The keys of config.json as this version of transformers and of these files reads them."""
    regate = keys.get("regate")
    if regate is not None:
        check(regate)
    keys = {**LOSS_KEYS, **keys}
    if keys.get("hidden_act") == ACTIVATION_GUARD:
        if regate is None:
            raise ValueError("config.json has no object 'regate': convert the original again")
        keys["hidden_act"] = regate["hidden_act"]
    if TRANSFORMERS_5:
        return keys
    # Transformers 4 does not know the names under which 5 saves these.
    rope = keys.pop("rope_parameters", None)
    if rope is not None:
        keys.setdefault("rope_theta", rope.get("rope_theta", 10000.0))
        if rope.get("rope_type", "default") != "default":
            keys.setdefault("rope_scaling", {k: v for k, v in rope.items() if k != "rope_theta"})
    if experts_key != "num_local_experts" and "num_local_experts" in keys:
        keys.setdefault(experts_key, keys.pop("num_local_experts"))
    return keys


class RegateMixtralConfig(MixtralConfig):
    model_type = "regate_mixtral"

    def __init__(self, **keys):
        super().__init__(**prepared(keys, "num_local_experts"))

    def to_dict(self):
        keys = super().to_dict()
        if "hidden_act" in keys.get("regate", {}):
            keys["hidden_act"] = ACTIVATION_GUARD
        return keys

    def routing_rule(self):
        return RoutingRule(self.num_local_experts, self.num_experts_per_tok, normalise=True)


class RegateQwen3MoeConfig(Qwen3MoeConfig):
    model_type = "regate_qwen3_moe"

    def __init__(self, **keys):
        super().__init__(**prepared(keys, "num_experts"))

    def routing_rule(self):
        return RoutingRule(
            self.num_experts, self.num_experts_per_tok, normalise=self.norm_topk_prob
        )


class RegateDeepseekV2Config(DeepseekV2Config):
    model_type = "regate_deepseek_v2"

    def __init__(self, **keys):
        super().__init__(**prepared(keys, "n_routed_experts"))
        self.model_type = "deepseek_v2"  # By which vLLM knows latent attention.

    def routing_rule(self):
        limited = self.topk_method == "group_limited_greedy"
        return RoutingRule(
            self.n_routed_experts,
            self.num_experts_per_tok,
            scale=self.routed_scaling_factor,
            groups=self.n_group if limited else 1,
            kept_groups=self.topk_group if limited else 1,
            outside=0.0,
        )


class SigmoidGroups:
    """The rule of DeepSeek-V3, and of the families that follow it."""

    def routing_rule(self):
        return RoutingRule(
            self.n_routed_experts,
            self.num_experts_per_tok,
            sigmoid=True,
            normalise=self.norm_topk_prob,
            epsilon=1e-20,
            scale=self.routed_scaling_factor,
            groups=self.n_group,
            kept_groups=self.topk_group,
            top_two=True,
        )


class RegateDeepseekV3Config(SigmoidGroups, DeepseekV3Config):
    """Also DeepSeek-R1 and Kimi-K2."""

    model_type = "regate_deepseek_v3"

    def __init__(self, **keys):
        super().__init__(**prepared(keys, "n_routed_experts"))
        self.model_type = "deepseek_v3"  # By which vLLM knows latent attention.


if hasattr(transformers, "Glm4MoeConfig"):

    class RegateGlm4MoeConfig(SigmoidGroups, transformers.Glm4MoeConfig):
        model_type = "regate_glm4_moe"

        def __init__(self, **keys):
            super().__init__(**prepared(keys, "n_routed_experts"))


if hasattr(transformers, "Glm4MoeLiteConfig"):

    class RegateGlm4MoeLiteConfig(SigmoidGroups, transformers.Glm4MoeLiteConfig):
        model_type = "regate_glm4_moe_lite"

        def __init__(self, **keys):
            super().__init__(**prepared(keys, "n_routed_experts"))
            self.model_type = "glm4_moe_lite"  # By which vLLM knows latent attention.


# In transformers 4 its router hands out weights in another shape.
if TRANSFORMERS_5 and hasattr(transformers, "GptOssConfig"):

    class RegateGptOssConfig(transformers.GptOssConfig):
        model_type = "regate_gpt_oss"

        def __init__(self, **keys):
            super().__init__(**prepared(keys, "num_local_experts"))

        def routing_rule(self):
            return RoutingRule(self.num_local_experts, self.num_experts_per_tok, of_chosen=True)


if TRANSFORMERS_5 and hasattr(transformers, "Qwen3NextConfig"):

    class RegateQwen3NextConfig(transformers.Qwen3NextConfig):
        model_type = "regate_qwen3_next"

        def __init__(self, **keys):
            super().__init__(**prepared(keys, "num_experts"))

        def routing_rule(self):
            return RoutingRule(
                self.num_experts, self.num_experts_per_tok, normalise=self.norm_topk_prob
            )


if TRANSFORMERS_5 and hasattr(transformers, "Dots1Config"):

    class RegateDots1Config(SigmoidGroups, transformers.Dots1Config):
        model_type = "regate_dots1"

        def __init__(self, **keys):
            super().__init__(**prepared(keys, "n_routed_experts"))


# By the name that transformers gives the family.
CONFIGURATIONS = {
    name.removeprefix("Regate").removesuffix("Config"): value
    for name, value in list(globals().items()) if name.startswith("Regate")
}
