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
from typing import NamedTuple

import transformers

VERSION = 4
ENCODERS = ("linear", "lpr")
SIMILARITIES = ("dot", "cosine", "gaussian", "mahalanobis", "cross_attention", "kl", "js",
                "hellinger", "wasserstein")
# What `hidden_act` says on disk where transformers 5 renames gates (Mixtral, MiniMax-M2, Granite-MoE,
# Phi-3.5-MoE), so that stock classes stop; the real one is in `regate`. (Their own class would find
# no gate of a `regate_mixtral`, whose tensors it does not rename, and start with a random one
# instead of stopping at its shape.)
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
    mixes: float | None = None  # ... or those of a sparse mixer with this jitter
    normalise: bool = False  # divide the chosen scores by their sum ...
    epsilon: float = 0.0  # ... plus this
    floor: float = 0.0  # ... but at least this
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


# Fields of `RoutingRule`: a name is that of a key of config.json, where another value is itself.
SOFTMAX = {"experts": "num_experts", "normalise": "norm_topk_prob"}
RENORMALISED = {"experts": "num_experts", "normalise": True}
OF_CHOSEN = {"experts": "num_local_experts", "of_chosen": True}
# The rule of DeepSeek-V3, and of the families that follow it.
SIGMOID_GROUPS = {
    "experts": "n_routed_experts", "sigmoid": True, "normalise": "norm_topk_prob",
    "epsilon": 1e-20, "scale": "routed_scaling_factor", "groups": "n_group",
    "kept_groups": "topk_group", "top_two": True,
}
# The same of softmax, and an expert outside the kept groups may be chosen.
SOFTMAX_GROUPS = {**SIGMOID_GROUPS, "sigmoid": False, "outside": 0.0}


class Family(NamedTuple):
    """What these files make of a family's classes in transformers."""

    model_type: str  # that Regate writes, after `regate_`
    rule: dict
    wraps: bool = False  # its language model is a part, whose configuration has the keys
    since_5: bool = True  # needs transformers 5
    keeps_type: bool = False  # the configuration in memory has the type of the original
    limited_by: str = ""  # the `topk_method` without which groups limit nothing
    # The gate on disk and in memory, where transformers renames no more than its weight.
    gate: tuple[str, str] | None = None


# By what the names of their classes begin with in transformers.
FAMILIES = {
    "Mixtral": Family(
        "mixtral", {"experts": "num_local_experts", "normalise": True}, since_5=False),
    "Qwen3Moe": Family("qwen3_moe", SOFTMAX, since_5=False),
    # vLLM knows latent attention by the type.
    "DeepseekV2": Family("deepseek_v2", {
        "experts": "n_routed_experts", "scale": "routed_scaling_factor", "outside": 0.0,
        "groups": "n_group", "kept_groups": "topk_group"}, since_5=False, keeps_type=True,
        limited_by="group_limited_greedy"),
    # Also DeepSeek-R1 and Kimi-K2.
    "DeepseekV3": Family("deepseek_v3", SIGMOID_GROUPS, since_5=False, keeps_type=True),
    "Glm4Moe": Family("glm4_moe", SIGMOID_GROUPS, since_5=False),
    "Glm4MoeLite": Family("glm4_moe_lite", SIGMOID_GROUPS, since_5=False, keeps_type=True),
    # In transformers 4 its router hands out weights in another shape.
    "GptOss": Family("gpt_oss", OF_CHOSEN),
    "Qwen3Next": Family("qwen3_next", SOFTMAX),
    "Dots1": Family("dots1", SIGMOID_GROUPS),
    "MiniMaxM2": Family("minimax_m2", {
        "experts": "num_local_experts", "sigmoid": True, "normalise": True}),
    # Without a shared expert it computes what GraniteMoe does.
    "GraniteMoeShared": Family(
        "granitemoe", OF_CHOSEN, gate=(r"\.router\.layer", ".router")),
    "Olmoe": Family("olmoe", SOFTMAX),
    "Qwen2Moe": Family("qwen2_moe", SOFTMAX),
    "Phimoe": Family(
        "phimoe", {**OF_CHOSEN, "mixes": "router_jitter_noise"},
        gate=(r"\.gate", ".router")),
    "Ernie4_5_Moe": Family("ernie4_5_moe", {**RENORMALISED, "floor": "moe_norm_min"}),
    "DeepseekV32": Family("deepseek_v32", SIGMOID_GROUPS),
    "GlmMoeDsa": Family("glm_moe_dsa", SIGMOID_GROUPS),
    "Mistral4": Family("mistral4", SOFTMAX_GROUPS),
    "Mistral3": Family("mistral3", SOFTMAX_GROUPS, wraps=True),  # Mistral Small 4
    "Qwen3_5MoeText": Family("qwen3_5_moe_text", RENORMALISED),
    "Qwen3_5Moe": Family("qwen3_5_moe", RENORMALISED, wraps=True),
    "Qwen3VLMoe": Family("qwen3_vl_moe", RENORMALISED, wraps=True),
    "Gemma4Text": Family("gemma4_text", {**RENORMALISED, "top_k": "top_k_experts"}),
    "Gemma4": Family("gemma4", {**RENORMALISED, "top_k": "top_k_experts"}, wraps=True),
}


def configuration(name, family):
    """Our configuration of a family."""
    if family.since_5 and not TRANSFORMERS_5:
        raise ImportError(f"the prototype form of {family.model_type} needs transformers 5")
    base = getattr(transformers, f"{name}Config")

    class Config(base):
        model_type = f"regate_{family.model_type}"
        original_type = base.model_type

        # Here, not in a class before `base`: transformers makes one where a class has none.
        def __init__(self, **keys):
            super().__init__(**prepared(keys, family.rule["experts"]))
            if family.keeps_type:
                self.model_type = self.original_type

        def to_dict(self):
            keys = super().to_dict()
            if "hidden_act" in keys.get("regate", {}):
                keys["hidden_act"] = ACTIVATION_GUARD
            return keys

        def routing_rule(self):
            keys, fields = self.get_text_config(), {"top_k": "num_experts_per_tok", **family.rule}
            if family.limited_by and keys.topk_method != family.limited_by:
                fields.update(groups=1, kept_groups=1)
            return RoutingRule(**{
                field: getattr(keys, value) if isinstance(value, str) else value
                for field, value in fields.items()
            })

    Config.__name__ = Config.__qualname__ = f"Regate{name}Config"
    return Config


def __getattr__(name):
    """Classes are made when they are asked for: no transformers has all families."""
    family = name.removeprefix("Regate").removesuffix("Config")
    if family not in FAMILIES or name != f"Regate{family}Config":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = configuration(family, FAMILIES[family])
    return made
