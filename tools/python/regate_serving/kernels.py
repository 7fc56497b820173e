# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the served gate. They give what `ServedGate` computes by torch's operations, in
two launches instead of about twenty, which are what a gate costs on a GPU.

T tokens, H hidden size, R latent size, E experts. Products are Float32's: no TF32.
"""

import triton
import triton.language as tl

# Below every rank of a value.
NOTHING = tl.constexpr(-(2**63))
NEVER = tl.constexpr(-1e9)


@triton.jit
def encode(x, encoder, parts, tokens, hidden, latent, share: tl.constexpr,
           BT: tl.constexpr, BR: tl.constexpr, BH: tl.constexpr):
    """Sums x A over one of the shares of hidden dimensions: parts [shares,T,R] from x [T,H] in
    bfloat16 and A, transposed [R,H].

    A Float32 is the sum of three bfloat16, and a product of two of these is exact in Float32, so
    tensor cores take it.
    """
    row = (tl.program_id(0) * BT + tl.arange(0, BT)).to(tl.int64)
    column = tl.arange(0, BR)
    start = tl.program_id(1) * share
    total = tl.zeros((BT, BR), tl.float32)
    for offset in range(0, share, BH):
        k = start + offset + tl.arange(0, BH)
        inputs = tl.load(x + row[:, None] * hidden + k, mask=(row < tokens)[:, None] & (k < hidden),
                         other=0.0)
        weights = tl.load(encoder + column * hidden + k[:, None],
                          mask=(column < latent) & (k < hidden)[:, None], other=0.0)
        high = weights.to(tl.bfloat16)
        rest = weights - high.to(tl.float32)
        middle = rest.to(tl.bfloat16)
        low = (rest - middle.to(tl.float32)).to(tl.bfloat16)
        total = tl.dot(inputs, low, total)
        total = tl.dot(inputs, middle, total)
        total = tl.dot(inputs, high, total)
    target = parts + (tl.program_id(1) * tokens + row[:, None]) * latent + column
    tl.store(target, total, mask=(row < tokens)[:, None] & (column < latent))


@triton.jit
def ranked(values, columns, BE: tl.constexpr):
    """Values [BT,BE] and columns as one integer: larger values first, equal ones by column."""
    bits = tl.where(values == 0, 0.0, values).to(tl.int32, bitcast=True)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return bits.to(tl.int64) * BE + (BE - 1 - columns)


@triton.jit
def column_of(rank, BE: tl.constexpr):
    return (BE - 1 - (rank & (BE - 1))).to(tl.int32)


@triton.jit
def limited(biased, columns, E: tl.constexpr, GROUPS: tl.constexpr, KEPT: tl.constexpr,
            TOP_TWO: tl.constexpr, OUTSIDE_ZERO: tl.constexpr, BT: tl.constexpr, BE: tl.constexpr):
    """`biased` [BT,BE] where only the best KEPT groups of consecutive experts may be chosen."""
    SIZE: tl.constexpr = E // GROUPS
    below = float("-inf")
    scores = tl.full((BT, BE), below, tl.float32)  # Of its group, in every column.
    for group in range(GROUPS):
        inside = columns // SIZE == group
        ranks = tl.where(inside, ranked(biased, columns, BE), NOTHING)
        first = column_of(tl.max(ranks, 1), BE)[:, None]
        score = tl.max(tl.where(inside, biased, below), 1)
        if TOP_TWO:
            # A group of which a single expert was not pruned scores that one alone.
            second = tl.max(tl.where(inside & (columns != first), biased, below), 1)
            score += tl.where(second == below, 0.0, second)
        scores = tl.where(inside, score[:, None], scores)
    ranks = tl.where(columns < E, ranked(scores, columns, BE), NOTHING)
    for _ in range(KEPT):
        kept = column_of(tl.max(ranks, 1), BE)[:, None] // SIZE
        ranks = tl.where(columns // SIZE == kept, NOTHING, ranks)
    left = (ranks != NOTHING) & (biased != below)
    return tl.where(left, 0.0 if OUTSIDE_ZERO else below, biased)


@triton.jit
def choose(latents, given, heads, offsets, logical_of, result, tokens, row_stride,
           latent: tl.constexpr, shares: tl.constexpr,
           E: tl.constexpr, TOP_K: tl.constexpr, SIGMOID: tl.constexpr, AS_SIGMOID: tl.constexpr,
           GROUPS: tl.constexpr, KEPT: tl.constexpr, TOP_TWO: tl.constexpr,
           OUTSIDE_ZERO: tl.constexpr, GIVEN: tl.constexpr,
           BT: tl.constexpr, BE: tl.constexpr, BR: tl.constexpr):
    """The gate's logits, result [T,E], from shares [shares,T,R] of the latent vectors.

    `heads` and `offsets` are those of `Constants`, `given` the logits [T,E] that are not among
    these, `logical_of` the logical expert of each physical one.
    """
    row = (tl.program_id(0) * BT + tl.arange(0, BT)).to(tl.int64)
    here = (row < tokens)[:, None]
    expert = tl.arange(0, BE)
    real = expert < E
    FIRST: tl.constexpr = 0 if GIVEN else E  # Rows of heads that make logits.
    zeros = tl.zeros((BT, BE), tl.float32)
    logits, bias, nearness = zeros, zeros, zeros
    for start in range(0, latent, BR):
        r = start + tl.arange(0, BR)
        z = tl.zeros((BT, BR), tl.float32)
        for share in range(shares):
            source = latents + (share * tokens + row[:, None]) * row_stride + r
            z += tl.load(source, mask=here & (r < latent), other=0.0)
        head = heads + expert[:, None] * latent + r
        held = real[:, None] & (r < latent)
        if not GIVEN:
            logits = added(z, tl.load(head, mask=held, other=0.0), logits, BT)
        bias = added(z, tl.load(head + FIRST * latent, mask=held, other=0.0), bias, BT)
        nearness = added(z, tl.load(head + (FIRST + E) * latent, mask=held, other=0.0), nearness,
                         BT)
    if GIVEN:
        logits = tl.load(given + row[:, None] * E + expert, mask=here & real, other=0.0)
    else:
        logits += tl.load(offsets + expert, mask=real, other=0.0)
    bias += tl.load(offsets + FIRST + expert, mask=real, other=0.0)
    nearness += tl.load(offsets + FIRST + E + expert, mask=real, other=0.0)

    if SIGMOID:
        scores = 1 / (1 + tl.exp(-logits))
    else:
        inside = tl.where(real, logits, float("-inf"))
        powers = tl.exp(inside - tl.max(inside, 1)[:, None])
        scores = powers / tl.sum(powers, 1)[:, None]
    columns = tl.broadcast_to(expert[None, :], (BT, BE))
    biased = scores + bias
    if KEPT < GROUPS:
        biased = limited(biased, columns, E, GROUPS, KEPT, TOP_TWO, OUTSIDE_ZERO, BT, BE)
    if AS_SIGMOID:
        clamped = tl.minimum(tl.maximum(scores, 1e-37), 1 - 1e-7)
        logits = tl.log(clamped / (1 - clamped))

    logical = tl.load(logical_of + expert, mask=real, other=-1).to(tl.int32)[None, :]
    near = ranked(nearness, columns, BE)
    left = tl.where(real, ranked(biased, columns, BE), NOTHING)
    made = tl.full((BT, BE), NEVER, tl.float32)
    for _ in range(TOP_K):
        chosen = column_of(tl.max(left, 1), BE)[:, None]
        left = tl.where(columns == chosen, NOTHING, left)
        logit = tl.sum(tl.where(columns == chosen, logits, 0.0), 1)[:, None]
        clone = column_of(tl.max(tl.where(logical == chosen, near, NOTHING), 1), BE)[:, None]
        made = tl.where(columns == clone, logit, made)
    tl.store(result + row[:, None] * E + expert, made, mask=here & real)


@triton.jit
def added(z, rows, total, BT: tl.constexpr):
    """total [BT,BE] and z [BT,BR] times rows [BE,BR], transposed; a single token is no matrix."""
    if BT == 1:
        total += tl.sum(z * rows, 1)[None, :]
    else:
        total = tl.dot(z, tl.trans(rows), total, input_precision="ieee")
    return total
