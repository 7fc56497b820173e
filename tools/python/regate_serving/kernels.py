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
    """Sums x A over one of the shares of hidden dimensions, for a block of tokens and of latent
    dimensions: parts [shares,T,R] from x [T,H] in bfloat16 and A, transposed [R,H].

    A Float32 is the sum of three bfloat16, and a product of two of these is exact in Float32, so
    tensor cores take it.
    """
    row = (tl.program_id(0) * BT + tl.arange(0, BT)).to(tl.int64)
    column = tl.program_id(2) * BR + tl.arange(0, BR)
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
    """Values [BE] and columns as one integer: larger values first, equal ones by column."""
    bits = tl.where(values == 0, 0.0, values).to(tl.int32, bitcast=True)
    bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return bits.to(tl.int64) * BE + (BE - 1 - columns)


@triton.jit
def column_of(rank, BE: tl.constexpr):
    return (BE - 1 - (rank & (BE - 1))).to(tl.int32)


@triton.jit
def limited(biased, expert, E: tl.constexpr, GROUPS: tl.constexpr, KEPT: tl.constexpr,
            TOP_TWO: tl.constexpr, OUTSIDE_ZERO: tl.constexpr, BE: tl.constexpr):
    """`biased` [BE] where only the best KEPT groups of consecutive experts may be chosen."""
    group_of, below = expert // (E // GROUPS), float("-inf")
    scores = tl.full((BE,), below, tl.float32)  # Of its group, in every column.
    for group in range(GROUPS):
        inside = group_of == group
        score = tl.max(tl.where(inside, biased, below), 0)
        if TOP_TWO:
            # A group of which a single expert was not pruned scores that one alone.
            first = column_of(tl.max(tl.where(inside, ranked(biased, expert, BE), NOTHING), 0), BE)
            second = tl.max(tl.where(inside & (expert != first), biased, below), 0)
            score += tl.where(second == below, 0.0, second)
        scores = tl.where(inside, score, scores)
    ranks = tl.where(expert < E, ranked(scores, expert, BE), NOTHING)
    for _ in range(KEPT):
        kept = column_of(tl.max(ranks, 0), BE) // (E // GROUPS)
        ranks = tl.where(group_of == kept, NOTHING, ranks)
    left = (ranks != NOTHING) & (biased != below)
    return tl.where(left, 0.0 if OUTSIDE_ZERO else below, biased)


@triton.jit
def choose(latents, given, heads, offsets, logical_of, clones, result, tokens, row_stride,
           R: tl.constexpr, SHARES: tl.constexpr, CLONES: tl.constexpr, E: tl.constexpr,
           TOP_K: tl.constexpr, SIGMOID: tl.constexpr, AS_SIGMOID: tl.constexpr,
           GROUPS: tl.constexpr, KEPT: tl.constexpr, TOP_TWO: tl.constexpr,
           OUTSIDE_ZERO: tl.constexpr, GIVEN: tl.constexpr, BE: tl.constexpr, BR: tl.constexpr):
    """The gate's logits, result [T,E], from shares [SHARES,T,R] of the latent vectors; a program
    for each token.

    `heads`, `offsets` and `clones` [E,CLONES] are those of `Constants`, `given` the logits [T,E]
    that are not among these, `logical_of` the logical expert of each physical one.
    """
    row = tl.program_id(0).to(tl.int64)
    expert = tl.arange(0, BE)
    real = expert < E
    FIRST: tl.constexpr = 0 if GIVEN else E  # Rows of heads that make logits.
    logits = tl.zeros((BE,), tl.float32)
    bias, nearness = logits, logits
    for start in range(0, R, BR):
        r = start + tl.arange(0, BR)
        z = tl.zeros((BR,), tl.float32)
        for share in range(SHARES):
            z += tl.load(latents + (share * tokens + row) * row_stride + r, mask=r < R, other=0.0)
        head, held = heads + expert[:, None] * R + r, real[:, None] & (r < R)
        if not GIVEN:
            logits += tl.sum(z * tl.load(head, mask=held, other=0.0), 1)
        bias += tl.sum(z * tl.load(head + FIRST * R, mask=held, other=0.0), 1)
        nearness += tl.sum(z * tl.load(head + (FIRST + E) * R, mask=held, other=0.0), 1)
    if GIVEN:
        logits = tl.load(given + row * E + expert, mask=real, other=0.0)
    else:
        logits += tl.load(offsets + expert, mask=real, other=0.0)
    bias += tl.load(offsets + FIRST + expert, mask=real, other=0.0)
    nearness += tl.load(offsets + FIRST + E + expert, mask=real, other=0.0)

    if SIGMOID:
        scores = 1 / (1 + tl.exp(-logits))
    else:
        inside = tl.where(real, logits, float("-inf"))
        powers = tl.exp(inside - tl.max(inside, 0))
        scores = powers / tl.sum(powers, 0)
    biased = scores + bias
    if KEPT < GROUPS:
        biased = limited(biased, expert, E, GROUPS, KEPT, TOP_TWO, OUTSIDE_ZERO, BE)
    if AS_SIGMOID:
        clamped = tl.minimum(tl.maximum(scores, 1e-37), 1 - 1e-7)
        logits = tl.log(clamped / (1 - clamped))

    left = tl.where(real, ranked(biased, expert, BE), NOTHING)
    for _ in range(TOP_K):
        left = tl.where(expert == column_of(tl.max(left, 0), BE), NOTHING, left)
    chosen = tl.where(left == NOTHING, logits, NEVER)

    # To the nearest of each logical expert's clones.
    logical = tl.load(logical_of + expert, mask=real, other=0).to(tl.int32)
    made = tl.gather(chosen, logical, 0)
    if CLONES > 1:
        near = ranked(nearness, expert, BE)
        for clone in range(CLONES):
            other = tl.load(clones + logical * CLONES + clone).to(tl.int32)
            made = tl.where(tl.gather(near, other, 0) > near, NEVER, made)
    tl.store(result + row * E + expert, made, mask=real)
