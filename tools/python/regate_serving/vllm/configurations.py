# SPDX-License-Identifier: Apache-2.0
"""The form's configurations, with the keys by which vLLM's classes are led to the gate's rule."""

import dataclasses

from ..form.configuration_regate import (
    RegateDeepseekV2Config,
    RegateDeepseekV3Config,
    RegateMixtralConfig,
    RegateQwen3MoeConfig,
)


class MixtralConfig(RegateMixtralConfig):
    model_type = RegateMixtralConfig.model_type


class Qwen3MoeConfig(RegateQwen3MoeConfig):
    model_type = RegateQwen3MoeConfig.model_type


class DeepseekV3Config(RegateDeepseekV3Config):
    model_type = RegateDeepseekV3Config.model_type

    def __init__(self, **keys):
        super().__init__(**keys)
        self.scoring_func, self.topk_method = "sigmoid", "noaux_tc"
        self.moe_router_dtype = "float32"


class DeepseekV2Config(RegateDeepseekV2Config):
    """Its softmax without renormalisation becomes a sigmoid of logits made for it. The gate limits
    groups as transformers does, where an expert outside the kept ones can be chosen, so the
    class must not do so again."""

    model_type = RegateDeepseekV2Config.model_type

    def __init__(self, regate_kept_groups=None, **keys):
        super().__init__(**keys)
        self.n_group = self.n_group or 1
        self.regate_kept_groups = regate_kept_groups or self.topk_group or 1
        self.topk_group = self.n_group
        self.scoring_func, self.norm_topk_prob = "sigmoid", False
        self.moe_router_dtype = "float32"

    def routing_rule(self):
        rule = super().routing_rule()
        kept = self.regate_kept_groups if rule.groups > 1 else 1
        return dataclasses.replace(rule, kept_groups=kept)


CONFIGURATIONS = (MixtralConfig, Qwen3MoeConfig, DeepseekV2Config, DeepseekV3Config)
