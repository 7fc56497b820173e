# SPDX-License-Identifier: Apache-2.0
"""Lives in every vLLM worker of in_vllm.py: counts chosen experts, and works round faults of
vLLM's CPU code that originals meet too (see faults.md). Never part of an output or a plugin.
"""

import functools
import inspect

import torch
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

COUNTS = {}  # id of an experts object: [E] counts


def watched(apply):
    """`apply` of CPU experts, which takes the logical numbers of all experts for local ones."""
    signature = inspect.signature(apply)

    @functools.wraps(apply)
    def wrapper(*arguments, **options):
        call = signature.bind(*arguments, **options)
        given = call.arguments
        experts, ids = given["global_num_experts"], given["topk_ids"]
        if len(ids) in Extension.lengths:
            zeros = torch.zeros(experts, dtype=torch.long)
            counts = COUNTS.setdefault(id(given["self"]), zeros)
            counts += ids.flatten().bincount(minlength=experts)
        if given["expert_map"] is not None:
            local = given["expert_map"][ids.long()]
            given["topk_weights"] = given["topk_weights"].masked_fill(local < 0, 0)
            given["topk_ids"] = local.clamp_min(0).to(ids.dtype)
        return apply(*call.args, **call.kwargs)

    return wrapper


CPUUnquantizedExperts.apply = watched(CPUUnquantizedExperts.apply)


class Extension:
    """Methods that vLLM adds to its worker (`worker_extension_cls`)."""

    lengths = frozenset()

    def count(self, lengths):
        """Counts the choices for batches of these lengths from now on."""
        COUNTS.clear()
        Extension.lengths = frozenset(lengths)

    def counted(self):
        """Counts [layers][E], layers in the order in which they ran."""
        return [counts.tolist() for counts in COUNTS.values()]
