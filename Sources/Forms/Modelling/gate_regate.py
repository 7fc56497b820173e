# SPDX-License-Identifier: Apache-2.0
"""The gate of the prototype form (version 4): its parameters, and the arithmetic that chooses.

It needs torch alone. `modeling_regate.py` builds transformers' models with it, and Regate's plugins
for vLLM and SGLang theirs. A *logical expert* is a distinct expert of the original checkpoint, a
*physical expert* an expert as it lies on disk; clones are physical experts that are copies of one
logical expert. A logical expert without a physical one was pruned. T tokens, H hidden size, R
latent size, E physical experts (and as many numbers of logical ones), K top-k. All arithmetic is
Float32, and the tensors stay Float32 whatever the model's dtype.

    z     = Enc(x)                           latent vector [R]
    l     = s sim(z, p) + a                  logit of each logical expert
    pi    = softmax or sigmoid of l, or l    its score
    F     = the K logical experts that were not pruned and have the largest pi + b + z . v,
            within the kept groups
    j_f   = for f in F, its physical expert with the largest z . c_j + beta_j

Encoders (config key `regate.encoder`): `linear`, x A; `lpr`, SiLU(LayerNorm(x)) A + bias, whose
2R values are the mean z and the log-variance of a Gaussian. Similarities (`regate.similarity`): see
`PrototypeGate.similarities`.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Similarities whose prototypes are directions rather than places.
INNER_PRODUCTS = ("dot", "cosine", "cross_attention")
# Similarities without a scale of their own: it is in what they multiply.
UNSCALED = ("dot", "cross_attention")
DIVERGENCES = ("kl", "js", "hellinger", "wasserstein")
LOWEST_LOG_VARIANCE = math.log(1e-6)

# Every tensor but the map; a gate has those that its encoder and similarity need.
FLOAT_TENSORS = (
    "weight", "norm_weight", "norm_bias", "encoder_bias", "logical_prototypes", "logit_bias",
    "similarity_scale", "log_sigma", "query_weight", "query_bias", "query_norm", "key_weight",
    "key_bias", "key_norm", "prototype_log_variances", "clone_prototypes", "clone_bias",
    "selection_bias", "token_bias",
)


class Constants(NamedTuple):
    """What a choice needs of the parameters alone: a server computes it once."""

    encoder: torch.Tensor  # A, transposed [R or 2R,H]
    prototypes: torch.Tensor  # [E,R] as the similarity takes them
    heads: torch.Tensor  # [2E or 3E,R]: p where it is a dot product, v, c ...
    offsets: torch.Tensor  # ... and what is added: a, b (minus infinity where pruned), beta
    clones: torch.Tensor  # [E,C] physical experts of each logical one, see `clone_table`
    columns: torch.Tensor  # [E], see `best`


class Choice(NamedTuple):
    """What a gate makes of a batch."""

    latent: torch.Tensor  # z [T,R]
    log_variance: torch.Tensor | None  # [T,R] of the encoder `lpr`
    logits: torch.Tensor  # l [T,E] of the logical experts
    scores: torch.Tensor  # pi [T,E]
    nearness: torch.Tensor  # z . c + beta [T,E] of the physical experts
    logical: torch.Tensor  # chosen logical experts [T,K], best first
    physical: torch.Tensor  # and of each its physical one [T,K]


class PrototypeGate(nn.Module):
    """The parameters bear the names of the checkpoint's tensors.

    `rule` is the family's: experts, top_k, sigmoid, of_chosen, groups, kept_groups, top_two,
    outside.
    """

    def __init__(self, rule, encoder, similarity, hidden_size, latent_size, std=0.02):
        super().__init__()
        self.rule, self.encoder, self.similarity = rule, encoder, similarity
        experts = rule.experts

        def parameter(*shape):
            return nn.Parameter(torch.empty(shape, dtype=torch.float32).normal_(std=std))

        def constant(value, size):
            return nn.Parameter(torch.full((size,), value, dtype=torch.float32))

        def zeros(*shape):
            return torch.zeros(experts, *shape, dtype=torch.float32)

        if encoder == "lpr":
            self.norm_weight = constant(1.0, hidden_size)
            self.norm_bias = constant(0.0, hidden_size)
            self.weight = parameter(hidden_size, 2 * latent_size)  # mean, then log-variance
            self.encoder_bias = constant(0.0, 2 * latent_size)
        else:
            self.weight = parameter(hidden_size, latent_size)  # A
        self.logical_prototypes = parameter(experts, latent_size)  # p
        self.logit_bias = nn.Parameter(zeros())  # a
        if similarity not in UNSCALED:
            self.similarity_scale = constant(1.0, 1)
        if similarity == "mahalanobis":
            self.log_sigma = constant(0.0, latent_size)
        elif similarity == "cross_attention":
            self.query_weight = parameter(latent_size, latent_size)
            self.query_bias = constant(0.0, latent_size)
            self.query_norm = constant(1.0, latent_size)
            self.key_weight = parameter(latent_size, latent_size)
            self.key_bias = constant(0.0, latent_size)
            self.key_norm = constant(1.0, latent_size)
        elif similarity in DIVERGENCES:
            self.prototype_log_variances = parameter(experts, latent_size)
        self.clone_prototypes = parameter(experts, latent_size)  # c
        self.clone_bias = nn.Parameter(zeros())  # beta
        self.register_buffer("selection_bias", zeros())  # b
        self.register_buffer("token_bias", zeros(latent_size))  # v
        self.register_buffer("physical_to_logical", torch.arange(experts))

    def _apply(self, fn, recurse=True):
        """Moves between devices, but ignores a new dtype: `.to(bfloat16)` leaves Float32."""

        def same_dtype(tensor):
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(same_dtype, recurse)

    def constants(self):
        there = torch.zeros_like(self.selection_bias, dtype=torch.bool)
        there = there.index_fill(0, self.physical_to_logical, True)
        heads = [self.token_bias, self.clone_prototypes]
        offsets = [self.selection_bias.masked_fill(~there, float("-inf")), self.clone_bias]
        prototypes = self.logical_prototypes
        if self.similarity == "dot":
            heads, offsets = [prototypes, *heads], [self.logit_bias, *offsets]
        elif self.similarity == "cosine":
            prototypes = unit(prototypes, 1e-8)
        elif self.similarity == "cross_attention":
            keys = F.linear(prototypes, self.key_weight, self.key_bias)
            prototypes = rms(keys) * self.key_norm / math.sqrt(prototypes.shape[-1])
        clones = clone_table(self.physical_to_logical)
        columns = -torch.arange(len(clones), device=clones.device)
        return Constants(
            self.weight.T, prototypes, torch.cat(heads), torch.cat(offsets), clones, columns)

    def choose(self, x, constants):
        """The choice for router inputs `x` [T,H]; to be called without autocast."""
        z, log_variance = self.encode(x.float(), constants.encoder)
        products = F.linear(z, constants.heads, constants.offsets)
        if self.similarity == "dot":
            logits, bias, nearness = products.chunk(3, dim=1)
        else:
            bias, nearness = products.chunk(2, dim=1)
            logits = self.similarities(z, log_variance, constants.prototypes) + self.logit_bias
        scores = logits
        if not self.rule.of_chosen:
            scores = logits.sigmoid() if self.rule.sigmoid else logits.softmax(-1)
        logical = self.best_experts((scores + bias).detach(), constants.columns)
        physical = nearest_clones(nearness, logical, constants.clones)
        return Choice(z, log_variance, logits, scores, nearness, logical, physical)

    def encode(self, x, encoder):
        """z [T,R] of router inputs [T,H], and its log-variance where there is one; `encoder` is
        that of `constants`, or of `lpr` the half that makes z."""
        if self.encoder == "linear":
            return F.linear(x, encoder), None
        u = F.layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, 1e-5)
        both = F.linear(F.silu(u), encoder, self.encoder_bias[:len(encoder)])
        z, *log_variance = both.split(self.clone_prototypes.shape[1], dim=-1)
        return z, log_variance[0] if log_variance else None

    def similarities(self, z, log_variance, prototypes):
        """s sim(z, p) [T,E], without the logit biases, from the prototypes of `constants`.

        cosine           s z . p / (|z| |p|)
        cross_attention  q . k / sqrt(R), q and k RMS-normed projections of z and p
        others           s h(Q), Q summed over dimensions: see `distances`
        """
        if self.similarity == "cosine":
            return self.similarity_scale * (unit(z, 1e-8) @ prototypes.T)
        if self.similarity == "cross_attention":
            query = rms(F.linear(z, self.query_weight, self.query_bias)) * self.query_norm
            return query @ prototypes.T
        # Blocks of experts, recomputed in the backward pass: [T,E,R] is never held as a whole, but
        # triples of token, expert and dimension that take no more room than the router's input.
        # (Not of tokens: then their number would be part of a compiled program.)
        block = max(1, self.weight.shape[0] // z.shape[1])
        distances = self.distances
        if torch.is_grad_enabled():
            distances = functools.partial(
                checkpoint, distances, use_reentrant=False, preserve_rng_state=False)
        parts = []
        for start in range(0, len(prototypes), block):
            rows = slice(start, start + block)
            parts.append(distances(z, log_variance, prototypes[rows], rows))
        return self.similarity_scale * torch.cat(parts, dim=1)

    def distances(self, z, log_variance, prototypes, rows):
        """h(Q) [T,n] from the prototypes of some `rows`; e = z - p, v and w the variances of token
        and prototype.

        gaussian     exp(-Q / 2),   e^2
        mahalanobis  1 / (1 + Q),   exp(-log_sigma) e^2
        kl           -Q,            (log w - log v + (v + e^2) / w - 1) / 2
        js           -Q,            log m / 2 - (log v + log w) / 4 + e^2 / 8m, m = (v + w) / 2
        hellinger    -sqrt(1 - exp -Q),  e^2 / 4s - log(2 sqrt(v w) / s) / 2, s = v + w + 1e-6,
                                         between 0 and -log 1e-6
        wasserstein  -sqrt(Q + 1e-6),    e^2 + (sqrt v - sqrt w)^2
        """
        squares = (z[:, None] - prototypes).square()
        if self.similarity == "gaussian":
            return (-squares.sum(-1) / 2).exp()
        if self.similarity == "mahalanobis":
            return 1 / (1 + squares @ (-self.log_sigma).exp())
        own = torch.zeros_like(z) if log_variance is None else log_variance
        own = own.clamp_min(LOWEST_LOG_VARIANCE)[:, None]
        other = self.prototype_log_variances[rows].clamp_min(LOWEST_LOG_VARIANCE)
        if self.similarity == "wasserstein":
            spread = ((own / 2).exp() - (other / 2).exp()).square()
            return -((squares + spread).sum(-1) + 1e-6).sqrt()
        v, w = own.exp(), other.exp()
        if self.similarity == "kl":
            return -((other - own + (v + squares) / w - 1) / 2).sum(-1)
        if self.similarity == "js":
            m = (v + w) / 2
            return -(m.log() / 2 - (own + other) / 4 + squares / (8 * m)).sum(-1)
        s = v + w + 1e-6
        q = squares / (4 * s) - (math.log(2) + (own + other) / 2 - s.log()) / 2
        # The slope of the root is infinite at 0: distances below 1e-4 count as that.
        apart = -torch.expm1(-q.clamp(0, -LOWEST_LOG_VARIANCE).sum(-1))
        return -apart.clamp_min(1e-8).sqrt()

    def best_experts(self, biased, columns):
        """The K logical experts with the largest `biased` scores [T,E] under the family's rule for
        groups; minus infinity where pruned. `columns` are those of `constants`."""
        rule = self.rule
        if rule.kept_groups < rule.groups:
            groups = biased.view(len(biased), rule.groups, -1)
            if rule.top_two:
                # A group of which a single expert was not pruned scores that one alone.
                two = groups.topk(2).values
                scores = two[..., 0] + two[..., 1].masked_fill(two[..., 1].isneginf(), 0)
            else:
                scores = groups.amax(-1)
            kept = best(scores, rule.kept_groups, columns[:rule.groups])
            left = torch.ones_like(scores, dtype=torch.bool).scatter(1, kept, False)
            left = left[..., None] & ~groups.isneginf()
            biased = groups.masked_fill(left, rule.outside).flatten(1)
        return best(biased, rule.top_k, columns)


def clone_table(physical_to_logical):
    """The physical experts of each logical one [E,E], in columns of their numbers; the other
    columns repeat the lowest, so that the first best of a row is the lowest best."""
    numbers = torch.arange(len(physical_to_logical), device=physical_to_logical.device)
    own = physical_to_logical == numbers[:, None]
    lowest = own.int().argmax(1, keepdim=True)
    return torch.where(own, numbers, lowest)


def nearest_clones(nearness, logical, clones):
    """Of each chosen logical expert [T,K] the physical one with the largest nearness [T,E]; ties go
    to the lowest."""
    candidates = F.embedding(logical, clones)  # [T,K,C]
    if clones.shape[1] == 1:
        return candidates.flatten(1)
    near = nearness.gather(1, candidates.flatten(1)).view_as(candidates)
    return candidates.gather(-1, near.argmax(-1, keepdim=True)).flatten(1)


def best(rows, count, columns):
    """Columns of the `count` largest of each row [T,E], best first; unlike topk, equal values in
    order of their column: both are ranked together, as one integer of 64 bits. `columns` are
    0, -1 ... 1 - E."""
    # Bits of magnitudes are ordered as these are.
    magnitudes, signs = rows.abs().view(torch.int32), rows.view(torch.int32).sign()
    ranks = torch.addcmul(columns, magnitudes, signs, value=rows.shape[-1])
    return ranks.topk(count, dim=-1).indices


def unit(rows, floor=1e-12):
    return F.normalize(rows, dim=-1, eps=floor)


def rms(rows):
    return rows * (rows.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
