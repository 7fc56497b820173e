# SPDX-License-Identifier: Apache-2.0
"""Models whose routers Regate replaced by latent prototypes (prototype form, version 4).

The models are transformers' own; only the gate of each MoE block is another one. A *logical expert*
is a distinct expert of the original checkpoint, a *physical expert* an expert as it lies on disk;
clones are physical experts that are copies of one logical expert. A logical expert without a
physical one was pruned. T tokens, H hidden size, R latent size, E physical experts (and as many
numbers of logical ones), K top-k. All router arithmetic is Float32, and router tensors stay Float32
whatever the model's dtype.

    z     = Enc(x)                           latent vector [R]
    pi    = softmax or sigmoid of s sim(z, p) + a   score of each logical expert
    F     = the K logical experts that were not pruned and have the largest pi + b + z . v,
            within the kept groups
    j_f   = for f in F, its physical expert with the largest z . c_j + beta_j
    w     = the family's rule on pi of F     (renormalised or not, scaled)

Encoders (config key `regate.encoder`): `linear`, x A; `lpr`, SiLU(LayerNorm(x)) A + bias, whose
2R values are the mean z and the log-variance of a Gaussian. Similarities (`regate.similarity`): see
`RegateRouter.similarities`.

Trained by the language loss: encoder, p, a, s and what the similarity itself learns, through the
weights w; c and beta, where there are clones, through a straight-through factor
(1 + s - stopgrad(s)) on w, s the share of the chosen clone in a softmax over those of its logical
expert. The choice itself has no gradient; b, v and the map are fixed. The log-variance is trained
by the similarities between distributions, and by the KL loss. The router losses (see
`RegateRouter.loss`) are added in training if the config key `regate_loss_coef` is above zero,
never in evaluation.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import (
    DeepseekV2ForCausalLM,
    DeepseekV2Model,
    DeepseekV3ForCausalLM,
    DeepseekV3Model,
    MixtralForCausalLM,
    MixtralModel,
    Qwen3MoeForCausalLM,
    Qwen3MoeModel,
)

from .configuration_regate import (
    TRANSFORMERS_5,
    RegateDeepseekV2Config,
    RegateDeepseekV3Config,
    RegateMixtralConfig,
    RegateQwen3MoeConfig,
)


# Similarities whose prototypes are directions rather than places.
INNER_PRODUCTS = ("dot", "cosine", "cross_attention")
# Similarities without a scale of their own: it is in what they multiply.
UNSCALED = ("dot", "cross_attention")
DIVERGENCES = ("kl", "js", "hellinger", "wasserstein")
LOWEST_LOG_VARIANCE = math.log(1e-6)
# Triples of token, expert and dimension that exist at a time while distances are computed.
BLOCK_VALUES = 1 << 23


class Routing(NamedTuple):
    """What a router did with a batch, for its losses."""

    latent: torch.Tensor  # z [T,R]
    log_variance: torch.Tensor | None  # [T,R] of the encoder `lpr`
    scores: torch.Tensor  # pi [T,E] of the logical experts
    share: torch.Tensor  # [T,E] of each physical expert among its clones
    physical: torch.Tensor  # chosen physical experts [T,K]


class RegateRouter(nn.Module):
    """Takes the place of a gate. The parameters bear the names of the checkpoint's tensors."""

    def __init__(self, config, latent_size):
        super().__init__()
        self.rule = rule = config.routing_rule()
        self.encoder = config.regate["encoder"]
        self.similarity = config.regate["similarity"]
        experts, hidden, std = rule.experts, config.hidden_size, config.initializer_range

        def parameter(*shape):
            return nn.Parameter(torch.empty(shape, dtype=torch.float32).normal_(std=std))

        def constant(value, size):
            return nn.Parameter(torch.full((size,), value, dtype=torch.float32))

        def zeros(*shape):
            return torch.zeros(experts, *shape, dtype=torch.float32)

        if self.encoder == "lpr":
            self.norm_weight, self.norm_bias = constant(1.0, hidden), constant(0.0, hidden)
            self.weight = parameter(hidden, 2 * latent_size)  # mean, then log-variance
            self.encoder_bias = constant(0.0, 2 * latent_size)
        else:
            self.weight = parameter(hidden, latent_size)  # A
        self.logical_prototypes = parameter(experts, latent_size)  # p
        self.logit_bias = nn.Parameter(zeros())  # a
        if self.similarity not in UNSCALED:
            self.similarity_scale = constant(1.0, 1)
        if self.similarity == "mahalanobis":
            self.log_sigma = constant(0.0, latent_size)
        elif self.similarity == "cross_attention":
            self.query_weight = parameter(latent_size, latent_size)
            self.query_bias = constant(0.0, latent_size)
            self.query_norm = constant(1.0, latent_size)
            self.key_weight = parameter(latent_size, latent_size)
            self.key_bias = constant(0.0, latent_size)
            self.key_norm = constant(1.0, latent_size)
        elif self.similarity in DIVERGENCES:
            self.prototype_log_variances = parameter(experts, latent_size)
        self.clone_prototypes = parameter(experts, latent_size)  # c
        self.clone_bias = nn.Parameter(zeros())  # beta
        self.register_buffer("selection_bias", zeros())  # b
        self.register_buffer("token_bias", zeros(latent_size))  # v
        self.register_buffer("physical_to_logical", torch.arange(experts))
        self.keeps_routing = False
        self.routing = None

    def _apply(self, fn, recurse=True):
        """Moves between devices, but ignores a new dtype: `.to(bfloat16)` leaves Float32."""

        def same_dtype(tensor):
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        return super()._apply(same_dtype, recurse)

    def forward(self, hidden_states):
        """Physical experts and weights [T,K], in the order that MoE blocks here expect."""
        x = hidden_states.reshape(-1, self.weight.shape[0])
        with torch.autocast(x.device.type, enabled=False):
            z, log_variance = self.encode(x.float())
            logits = self.similarities(z, log_variance) + self.logit_bias
            scores = logits.sigmoid() if self.rule.sigmoid else logits.softmax(-1)
            chosen = self.choose((scores + z @ self.token_bias.T).detach())
            weights = self.weigh(scores.gather(1, chosen))
            nearness = z @ self.clone_prototypes.T + self.clone_bias
            physical = self.nearest_clones(nearness.detach()).gather(1, chosen)
            if self.training:
                share = self.share(nearness)
                chosen_share = share.gather(1, physical)
                weights = weights * (1 + chosen_share - chosen_share.detach())
                if self.keeps_routing:
                    self.routing = Routing(z, log_variance, scores, share, physical)
        return (logits, weights, physical) if TRANSFORMERS_5 else (physical, weights)

    def encode(self, x):
        """z [T,R] of router inputs [T,H], and its log-variance where the encoder has one."""
        if self.encoder == "linear":
            return x @ self.weight, None
        u = F.layer_norm(x, x.shape[-1:], self.norm_weight, self.norm_bias, 1e-5)
        return (F.silu(u) @ self.weight + self.encoder_bias).chunk(2, dim=-1)

    def similarities(self, z, log_variance):
        """s sim(z, p) [T,E], without the logit biases.

        dot              z . p
        cosine           s z . p / (|z| |p|)
        cross_attention  q . k / sqrt(R), q and k RMS-normed projections of z and p
        others           s h(Q), Q summed over dimensions: see `distances`
        """
        p = self.logical_prototypes
        if self.similarity == "dot":
            return z @ p.T
        if self.similarity == "cosine":
            return self.similarity_scale * (unit(z, 1e-8) @ unit(p, 1e-8).T)
        if self.similarity == "cross_attention":
            query = rms(F.linear(z, self.query_weight, self.query_bias)) * self.query_norm
            key = rms(F.linear(p, self.key_weight, self.key_bias)) * self.key_norm
            return query @ key.T / math.sqrt(z.shape[-1])
        # Blocks of tokens, recomputed in the backward pass: [T,E,R] is never held as a whole.
        block = max(1, BLOCK_VALUES // p.numel())
        parts = []
        for start in range(0, len(z), block):
            rows = slice(start, start + block)
            mine = z[rows], None if log_variance is None else log_variance[rows]
            parts.append(
                checkpoint(self.distances, *mine, use_reentrant=False, preserve_rng_state=False)
                if torch.is_grad_enabled() else self.distances(*mine)
            )
        return self.similarity_scale * torch.cat(parts) if parts else z @ p.T

    def distances(self, z, log_variance):
        """h(Q) [T,E], with e = z - p, v and w the variances of token and prototype.

        gaussian     exp(-Q / 2),   e^2
        mahalanobis  1 / (1 + Q),   exp(-log_sigma) e^2
        kl           -Q,            (log w - log v + (v + e^2) / w - 1) / 2
        js           -Q,            log m / 2 - (log v + log w) / 4 + e^2 / 8m, m = (v + w) / 2
        hellinger    -sqrt(1 - exp -Q),  e^2 / 4s - log(2 sqrt(v w) / s) / 2, s = v + w + 1e-6,
                                         between 0 and -log 1e-6
        wasserstein  -sqrt(Q + 1e-6),    e^2 + (sqrt v - sqrt w)^2
        """
        squares = (z[:, None] - self.logical_prototypes).square()
        if self.similarity == "gaussian":
            return (-squares.sum(-1) / 2).exp()
        if self.similarity == "mahalanobis":
            return 1 / (1 + squares @ (-self.log_sigma).exp())
        own = torch.zeros_like(z) if log_variance is None else log_variance
        own = own.clamp_min(LOWEST_LOG_VARIANCE)[:, None]
        other = self.prototype_log_variances.clamp_min(LOWEST_LOG_VARIANCE)
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

    def choose(self, scores):
        """The K logical experts with the largest `scores` + b of each token [T,K], best first; ties
        go to the lowest number."""
        rule = self.rule
        there = torch.zeros_like(scores[0], dtype=torch.bool)
        there = there.index_fill(0, self.physical_to_logical, True)
        biased = (scores + self.selection_bias).masked_fill(~there, float("-inf"))
        if rule.kept_groups < rule.groups:
            groups = biased.view(len(biased), rule.groups, -1)
            if rule.top_two:
                # A group of which a single expert was not pruned scores that one alone.
                best = groups.topk(2).values
                group_scores = best[..., 0] + best[..., 1].masked_fill(best[..., 1].isneginf(), 0)
            else:
                group_scores = groups.amax(-1)
            kept = ranked(group_scores)[:, : rule.kept_groups]
            inside = torch.zeros_like(group_scores, dtype=torch.bool).scatter(1, kept, True)
            outside = ~inside.repeat_interleave(groups.shape[-1], 1) & there
            biased = biased.masked_fill(outside, rule.outside)
        return ranked(biased)[:, : rule.top_k]

    def weigh(self, weights):
        """The family's rule on the scores of the chosen logical experts [T,K]."""
        if self.rule.normalise:
            weights = weights / (weights.sum(-1, keepdim=True) + self.rule.epsilon)
        return weights * self.rule.scale

    def by_logical(self, values, reduce, start):
        """`values` [T,E] of physical experts, reduced over clones: [T,E] of logical experts."""
        index = self.physical_to_logical.expand_as(values)
        return torch.full_like(values, start).scatter_reduce(1, index, values, reduce)

    def nearest_clones(self, nearness):
        """For each logical expert its nearest physical one; ties go to the lowest."""
        best = self.by_logical(nearness, "amax", float("-inf"))[:, self.physical_to_logical]
        experts = self.rule.experts
        numbers = torch.arange(experts, device=nearness.device).expand_as(nearness)
        return self.by_logical(numbers.masked_fill(nearness < best, experts), "amin", experts)

    def share(self, nearness):
        """Softmax of nearness [T,E] over the clones of each logical expert; 1 for one without."""
        best = self.by_logical(nearness.detach(), "amax", float("-inf"))
        best = best[:, self.physical_to_logical]
        powers = (nearness - best).exp()
        return powers / self.by_logical(powers, "sum", 0.0)[:, self.physical_to_logical]

    def loss(self, routing, config):
        """The router losses of one layer, the paper's and one for balance.

        diversity  of z and of the prototypes of logical experts not pruned (see `diversity`)
        align      mean |p_f - mean z of the tokens that f serves|; as unit vectors where the
                   similarity is an inner product, whose length is a temperature and not a place
        KL         of the tokens' Gaussians from the standard one, with the encoder `lpr`
        balance    E * sum_j load_j * mean probability_j: 1 when even (gradient through the latter)

        Where the paper's code differs: it aligns with a sum over tokens, which grows with the
        batch, weighted by a softmax in which experts that were not chosen keep most of the
        weight, and with a sample of z. Here it is the mean of z over the tokens that f serves.
        """
        z, log_variance, scores, share, physical = routing
        experts, kind = self.rule.experts, config.regate_diversity_type
        there = self.physical_to_logical.unique()
        total = config.regate_diversity_weight * (
            diversity(z, kind) + diversity(self.logical_prototypes[there], kind)
        )
        if log_variance is not None:
            divergence = (1 + log_variance - z.square() - log_variance.exp()).sum(-1).mean() / -2
            total = total + config.regate_kl_weight * divergence

        logical = self.physical_to_logical[physical]
        served = torch.zeros_like(scores).scatter(1, logical, 1.0)  # [T,E]
        used = served.any(0)
        centres = served.T @ z.detach() / served.sum(0).clamp_min(1)[:, None]
        places = self.logical_prototypes
        if self.similarity in INNER_PRODUCTS:
            places, centres = unit(places), unit(centres)
        total = total + config.regate_align_weight * (places - centres)[used].abs().mean()

        probabilities = scores[:, self.physical_to_logical] * share
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
        load = physical.flatten().bincount(minlength=experts) / physical.numel()
        balance = experts * (load * probabilities.mean(0)).sum()
        return total + config.regate_balance_weight * balance


def ranked(rows):
    """Column numbers by falling value; unlike topk, equal values in order of their number."""
    return rows.argsort(dim=-1, descending=True, stable=True)


def unit(rows, floor=1e-12):
    return F.normalize(rows, dim=-1, eps=floor)


def rms(rows):
    return rows * (rows.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


def diversity(rows, kind):
    """How alike the rows [n,R] are: 0 for fewer than two. U are the unit rows.

    orthogonal  mean over all n^2 entries of (U U^T - I)^2
    cosine      mean of the off-diagonal entries of U U^T
    euclidean   minus the mean off-diagonal distance of the rows as they are

    The first two without an n^2 matrix: |U U^T - I|^2 = |U^T U|^2 - 2 tr(U^T U) + n, and
    tr(U^T U) = n.
    """
    directions, count = unit(rows), len(rows)
    if count < 2:
        return rows.sum() * 0
    if kind == "orthogonal":
        return ((directions.T @ directions).square().sum() - count) / count**2
    if kind == "cosine":
        return (directions.sum(0).square().sum() - count) / (count * (count - 1))
    if kind == "euclidean":
        return -F.pdist(rows).mean()
    raise ValueError(
        f"regate_diversity_type is {kind!r}, expected 'orthogonal', 'cosine' or 'euclidean'"
    )


class ExpertList(nn.Module):
    """The MoE block of Mixtral and Qwen3-MoE for transformers 4, whose own computes the routing."""

    def __init__(self, gate, experts, jitter):
        super().__init__()
        self.gate = gate
        self.experts = experts
        self.jitter = jitter

    def forward(self, hidden_states):
        x = hidden_states.reshape(-1, hidden_states.shape[-1])
        if self.training and self.jitter > 0:
            x = x * torch.empty_like(x).uniform_(1 - self.jitter, 1 + self.jitter)
        chosen, weights = self.gate(x)
        output = torch.zeros_like(x)
        for expert in chosen.unique().tolist():
            token, rank = torch.where(chosen == expert)
            share = self.experts[expert](x[token]) * weights[token, rank, None]
            output = output.index_add(0, token, share.to(output.dtype))
        return output.view_as(hidden_states), None


def install_routers(model):
    """Replaces the gate of every MoE layer of a decoder `model` that transformers has built."""
    config = model.config
    if getattr(config, "regate", None) is None:
        raise ValueError("config.json has no object 'regate': this is not a prototype checkpoint")
    for number, size in config.regate["latent_size"].items():
        layer = model.layers[int(number)]
        name = "block_sparse_moe" if hasattr(layer, "block_sparse_moe") else "mlp"
        block = getattr(layer, name)
        router = RegateRouter(config, size)
        if isinstance(block.gate, nn.Linear):
            jitter = getattr(config, "router_jitter_noise", 0.0)
            setattr(layer, name, ExpertList(router, block.experts, jitter))
        else:
            block.gate = router


def router_loss(model):
    """The sum over layers of the router losses of the batch that went through `model`."""
    total = 0
    for router in routers(model):
        routing, router.routing, router.keeps_routing = router.routing, None, False
        if router.weight.requires_grad and not routing.latent.requires_grad:
            raise ValueError(
                "the router losses need gradient checkpointing without re-entrance: "
                'gradient_checkpointing_enable({"use_reentrant": False})'
            )
        loss = router.loss(routing, model.config)
        total = loss if isinstance(total, int) else total + loss.to(total.device)
    return total


def routers(model):
    return [module for module in model.modules() if isinstance(module, RegateRouter)]


def with_router_losses(stock_forward):
    """A causal model's `forward` that adds the router losses to the loss while training."""

    @functools.wraps(stock_forward)
    def forward(self, *args, **kwargs):
        if kwargs.pop("output_router_logits", None):
            raise ValueError(
                "output_router_logits belongs to transformers' own balance loss, which knows no "
                "clones: set the config key regate_loss_coef instead"
            )
        coefficient = self.config.regate_loss_coef
        wanted = self.training and coefficient > 0 and kwargs.get("labels") is not None
        for router in routers(self):
            router.routing, router.keeps_routing = None, wanted
        output = stock_forward(self, *args, **kwargs)
        if not wanted:
            return output
        extra = coefficient * router_loss(self)
        if isinstance(output, tuple):
            return (output[0] + extra.to(output[0].device), *output[1:])
        output["loss"] = output.loss + extra.to(output.loss.device)
        return output

    return forward


class RegateModel:
    """What every model below adds to transformers' class."""

    # Transformers 5 keeps the dtype that the parameters are declared with.
    _keep_in_fp32_modules_strict = None if TRANSFORMERS_5 else ["gate"]

    def __init__(self, config):
        super().__init__(config)
        config.output_router_logits = False
        install_routers(getattr(self, "model", self))


class RegateMixtralModel(RegateModel, MixtralModel):
    config_class = RegateMixtralConfig


class RegateMixtralForCausalLM(RegateModel, MixtralForCausalLM):
    config_class = RegateMixtralConfig
    forward = with_router_losses(MixtralForCausalLM.forward)


class RegateQwen3MoeModel(RegateModel, Qwen3MoeModel):
    config_class = RegateQwen3MoeConfig


class RegateQwen3MoeForCausalLM(RegateModel, Qwen3MoeForCausalLM):
    config_class = RegateQwen3MoeConfig
    forward = with_router_losses(Qwen3MoeForCausalLM.forward)


class RegateDeepseekV2Model(RegateModel, DeepseekV2Model):
    config_class = RegateDeepseekV2Config


class RegateDeepseekV2ForCausalLM(RegateModel, DeepseekV2ForCausalLM):
    config_class = RegateDeepseekV2Config
    forward = with_router_losses(DeepseekV2ForCausalLM.forward)


class RegateDeepseekV3Model(RegateModel, DeepseekV3Model):
    config_class = RegateDeepseekV3Config


class RegateDeepseekV3ForCausalLM(RegateModel, DeepseekV3ForCausalLM):
    config_class = RegateDeepseekV3Config
    forward = with_router_losses(DeepseekV3ForCausalLM.forward)


if TRANSFORMERS_5:
    # Experts are fused in memory by model type: ours like their originals, in both directions.
    from transformers.conversion_mapping import (
        get_checkpoint_conversion_mapping,
        register_checkpoint_conversion_mapping,
    )

    for config_class in (
        RegateMixtralConfig,
        RegateQwen3MoeConfig,
        RegateDeepseekV2Config,
        RegateDeepseekV3Config,
    ):
        register_checkpoint_conversion_mapping(
            config_class.model_type,
            get_checkpoint_conversion_mapping(config_class.model_type.removeprefix("regate_")),
            overwrite=True,
        )
