# SPDX-License-Identifier: Apache-2.0
"""Lives in every vLLM worker of in_vllm.py: counts chosen experts, and works round faults of
vLLM's CPU code that originals meet too (see faults.md). Never part of an output or a plugin.
"""

import functools
import inspect
import itertools

import torch
from vllm.model_executor.layers.fused_moe.experts.cpu_moe import CPUUnquantizedExperts

COUNTS = {}  # number of an experts object: [E] counts
NUMBERS = itertools.count()


@torch.library.custom_op("serving::counted", mutates_args=())
def counted(ids: torch.Tensor, number: int, experts: int) -> torch.Tensor:
    """The same ids; an operation of its own, so that compiled models count, too."""
    if len(ids) in Extension.lengths:
        counts = COUNTS.setdefault(number, torch.zeros(experts, dtype=torch.long))
        counts += ids.flatten().bincount(minlength=experts)
    return ids.clone()


@counted.register_fake
def _(ids, number, experts):
    return torch.empty_like(ids)


def numbered(init):
    @functools.wraps(init)
    def wrapper(self, *arguments, **options):
        init(self, *arguments, **options)
        self.number = next(NUMBERS)

    return wrapper


def watched(apply):
    """`apply` of CPU experts, which takes the logical numbers of all experts for local ones."""
    names = list(inspect.signature(apply).parameters)

    @functools.wraps(apply)
    def wrapper(*arguments, **options):
        given = {**dict(zip(names, arguments)), **options}
        ids = counted(given["topk_ids"], given["self"].number, given["global_num_experts"])
        given["topk_ids"] = ids
        if given["expert_map"] is not None:
            local = given["expert_map"][ids.long()]
            given["topk_weights"] = given["topk_weights"].masked_fill(local < 0, 0)
            given["topk_ids"] = local.clamp_min(0).to(ids.dtype)
        return apply(**given)

    return wrapper


CPUUnquantizedExperts.__init__ = numbered(CPUUnquantizedExperts.__init__)
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
