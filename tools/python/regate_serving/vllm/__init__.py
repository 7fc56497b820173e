# SPDX-License-Identifier: Apache-2.0
"""vLLM's plugin: model classes and configurations of the prototype form."""

import logging

ARCHITECTURES = ("Mixtral", "Qwen3Moe", "DeepseekV2", "DeepseekV3")


def register():
    """The entry point; vLLM calls it in every process, and may do so again."""
    from vllm import ModelRegistry

    from ..versions import UnknownVersion
    from .configurations import CONFIGURATIONS
    from .interface import configuration_registry

    known = ModelRegistry.get_supported_archs()
    for name in (f"Regate{family}ForCausalLM" for family in ARCHITECTURES):
        if name not in known:
            ModelRegistry.register_model(name, f"{__name__}.models:{name}")
    try:
        configuration_registry().update({c.model_type: c for c in CONFIGURATIONS})
    except UnknownVersion as error:  # Other models can be served all the same.
        logging.getLogger(__name__).error("%s", error)
