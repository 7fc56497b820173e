# SPDX-License-Identifier: Apache-2.0
"""The served gate as one operation on a GPU, `regate::gate_logits`, by the kernels of `kernels`.

An operation of its own, so that a compiled model calls it as it is, and so that the sizes of blocks
follow each call's number of tokens and not that of the first.
"""

import torch

try:
    from . import kernels
except ImportError:  # No Triton, as on most CPUs: torch's operations do the same.
    kernels = None

# Up to as many tokens, and so programs, there is room for several warps in each.
FEW = 256
# Programs that make latent vectors, at most; about four a multiprocessor.
PROGRAMS, MOST_SHARES = 512, 32


def available(x):
    return kernels is not None and x.is_cuda


def power_of_two(size):
    return 1 << (size - 1).bit_length()


def latent_shares(x, encoder):
    """z [shares,T,R], to be summed, of router inputs [T,H] in bfloat16."""
    (tokens, hidden), latent = x.shape, len(encoder)
    rows = 64 if tokens >= 1024 else 16
    blocks = -(-tokens // rows)
    width, shares = 64, MOST_SHARES  # Of hidden dimensions at a time, and of their shares.
    # Powers of two: a kernel is compiled for each number of shares.
    while shares > 1 and (shares * blocks > PROGRAMS or hidden < 2 * shares * width):
        shares //= 2
    share = -(-hidden // (shares * width)) * width
    shares = -(-hidden // share)
    parts = torch.empty(shares, tokens, latent, dtype=torch.float32, device=x.device)
    columns = min(64, max(16, power_of_two(latent)))
    kernels.encode[blocks, shares, -(-latent // columns)](
        x.contiguous(), encoder, parts, tokens, hidden, latent, share,
        BT=rows, BR=columns, BH=width)
    return parts


def latent(x, encoder):
    """z [T,R] of router inputs [T,H] in bfloat16."""
    return latent_shares(x, encoder).sum(0)


def gate_logits(x, encoder, given, heads, offsets, logical_of, clones, rule):
    """Logits [T,E] of router inputs x [T,H] in bfloat16, or where there is no `encoder` of latent
    vectors [T,R]; `given` are those of similarities other than a dot product, `rule` is what
    `numbers` makes of one."""
    tokens, experts, size = len(x), len(logical_of), heads.shape[1]
    result = torch.empty(tokens, experts, dtype=torch.float32, device=x.device)
    if not tokens:
        return result
    parts = x[None] if encoder is None else latent_shares(x, encoder)
    top_k, sigmoid, as_sigmoid, groups, kept, top_two, outside_zero = rule
    wide = power_of_two(experts)
    kernels.choose[tokens,](
        parts, given, heads, offsets, logical_of, clones, result, tokens, parts.stride(1), R=size,
        SHARES=len(parts), CLONES=clones.shape[1], E=experts, TOP_K=top_k, SIGMOID=sigmoid,
        AS_SIGMOID=as_sigmoid, GROUPS=groups, KEPT=kept, TOP_TWO=top_two,
        OUTSIDE_ZERO=outside_zero, GIVEN=given is not None, BE=wide, BR=32,
        num_warps=(4 if tokens <= FEW else 1) * max(1, wide // 128))
    return result


def numbers(rule, as_sigmoid):
    """A `RoutingRule` as the kernels take it."""
    return [rule.top_k, int(rule.sigmoid), int(as_sigmoid), rule.groups, rule.kept_groups,
            int(rule.top_two), int(rule.outside == 0)]


def register():
    library = torch.library.Library("regate", "DEF")
    library.define(
        "gate_logits(Tensor x, Tensor? encoder, Tensor? given, Tensor heads, Tensor offsets, "
        "Tensor logical_of, Tensor clones, int[] rule) -> Tensor")
    library.define("latent(Tensor x, Tensor encoder) -> Tensor")
    for device in ("CUDA", "CPU"):  # Of the latter Triton's interpreter, in tests.
        library.impl("gate_logits", gate_logits, device)
        library.impl("latent", latent, device)

    @torch.library.register_fake("regate::gate_logits", lib=library)
    def logits_like(x, encoder, given, heads, offsets, logical_of, clones, rule):
        return heads.new_empty(x.shape[0], logical_of.shape[0])

    @torch.library.register_fake("regate::latent", lib=library)
    def latent_like(x, encoder):
        return encoder.new_empty(x.shape[0], encoder.shape[0])

    return library


LIBRARY = register()
