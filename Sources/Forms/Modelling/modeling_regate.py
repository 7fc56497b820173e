# SPDX-License-Identifier: Apache-2.0
"""Models whose routers Regate replaced by latent prototypes (prototype form, version 4).

The models are transformers' own; only the gate of each MoE block is another one. What it computes,
and what the letters mean, stands in `gate_regate.py`; here are the weights of the chosen experts,

    w     = the family's rule on pi of F     (renormalised or not, scaled)

training, and what puts gates into models.

Trained by the language loss: encoder, p, a, s and what the similarity itself learns, through the
weights w; c and beta, where there are clones, through a straight-through factor
(1 + s - stopgrad(s)) on w, s the share of the chosen clone in a softmax over those of its logical
expert. The choice itself has no gradient; b, v and the map are fixed. The log-variance is trained
by the similarities between distributions, and by the KL loss. The router losses (see
`RegateRouter.loss`) are added in training if the config key `regate_loss_coef` is above zero,
never in evaluation.
"""

import functools
from typing import NamedTuple

import torch
import transformers
from torch import nn
from torch.nn import functional as F

from . import configuration_regate
from .configuration_regate import FAMILIES, TRANSFORMERS_5
from .gate_regate import FLOAT_TENSORS, INNER_PRODUCTS, PrototypeGate, unit

# What MoE blocks call their gate, and where it lies in a layer of transformers 5.
GATES = ("gate", "router")
GATES_IN_LAYERS = ("mlp.gate", "mlp.router", "block_sparse_moe.router", "router.proj")
# The decoder in a causal model, or in one that sees pictures.
DECODER = ("model", "language_model")


class Routing(NamedTuple):
    """What a router did with a batch, for its losses."""

    latent: torch.Tensor  # z [T,R]
    log_variance: torch.Tensor | None  # [T,R] of the encoder `lpr`
    scores: torch.Tensor  # pi [T,E] of the logical experts
    share: torch.Tensor  # [T,E] of each physical expert among its clones
    physical: torch.Tensor  # chosen physical experts [T,K]


class RegateRouter(PrototypeGate):
    """Takes the place of a gate of transformers."""

    def __init__(self, config, latent_size):
        form = config.regate["encoder"], config.regate["similarity"]
        keys = config.get_text_config()
        super().__init__(config.routing_rule(), *form, keys.hidden_size, latent_size,
                         keys.initializer_range)
        self.keeps_routing = False
        self.routing = None

    def forward(self, hidden_states, *_):
        """Physical experts and weights [T,K], in the order that MoE blocks here expect. (That of
        MiniMax-M2 hands over a selection bias, which is in the router.)"""
        x = hidden_states.reshape(-1, self.weight.shape[0])
        with torch.autocast(x.device.type, enabled=False):
            choice = self.choose(x, self.constants())
        weights = self.weigh(choice.scores, choice.logical)
        if self.training:
            share = self.share(choice.nearness)
            chosen_share = share.gather(1, choice.physical)
            weights = weights * (1 + chosen_share - chosen_share.detach())
            if self.keeps_routing:
                self.routing = Routing(
                    choice.latent, choice.log_variance, choice.scores, share, choice.physical
                )
        if TRANSFORMERS_5:
            return choice.logits, weights, choice.physical
        return choice.physical, weights

    def weigh(self, scores, logical):
        """The family's rule on the scores [T,E] for the chosen logical experts [T,K]."""
        if self.rule.mixes is not None:
            return self.mix(scores, logical)
        weights = scores.gather(1, logical)
        if self.rule.of_chosen:
            return weights.softmax(-1)
        if self.rule.normalise:
            total = weights.sum(-1, keepdim=True) + self.rule.epsilon
            weights = weights / total.clamp_min(self.rule.floor)
        return weights * self.rule.scale

    def mix(self, logits, logical):
        """A chosen expert's share in a softmax over those that were not chosen before it and whose
        logit l is near its own m: (m - l) / max(|l|, m) at most twice the jitter."""
        weights = []
        for chosen in logical.split(1, dim=1):
            own = logits.gather(1, chosen)
            with torch.no_grad():
                far = (own - logits) / logits.abs().maximum(own) > 2 * self.rule.mixes
            weights.append((own - logits.masked_fill(far, float("-inf")).logsumexp(-1, True)).exp())
            logits = logits.scatter(1, chosen, float("-inf"))
        return torch.cat(weights, dim=1)

    def by_logical(self, values, reduce, start):
        """`values` [T,E] of physical experts, reduced over clones: [T,E] of logical experts."""
        index = self.physical_to_logical.expand_as(values)
        return torch.full_like(values, start).scatter_reduce(1, index, values, reduce)

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
        if self.rule.of_chosen:
            scores = scores.softmax(-1)
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


class ScaledRouter(nn.Module):
    """Gemma-4's, which lies in the layer: a norm and scales before the gate, scales of the experts
    after it."""

    def __init__(self, original, gate):
        super().__init__()
        self.norm, self.scale, self.proj = original.norm, original.scale, gate
        self.per_expert_scale = original.per_expert_scale

    def forward(self, hidden_states):
        x = self.norm(hidden_states) * self.scale * hidden_states.shape[-1] ** -0.5
        logits, weights, physical = self.proj(x)
        return logits, weights * self.per_expert_scale[physical], physical


def install_routers(model, config):
    """Replaces the gate of every MoE layer of a `model` that transformers has built."""
    if getattr(config, "regate", None) is None:
        raise ValueError("config.json has no object 'regate': this is not a prototype checkpoint")
    for part in DECODER:
        model = getattr(model, part, model)
    for number, size in config.regate["latent_size"].items():
        layer = model.layers[int(number)]
        router = RegateRouter(config, size)
        if hasattr(layer, "router"):
            layer.router = ScaledRouter(layer.router, router)
            continue
        name = "block_sparse_moe" if hasattr(layer, "block_sparse_moe") else "mlp"
        block = getattr(layer, name)
        gate = next(name for name in GATES if hasattr(block, name))
        if not TRANSFORMERS_5 and isinstance(getattr(block, gate), nn.Linear):
            jitter = getattr(config, "router_jitter_noise", 0.0)
            setattr(layer, name, ExpertList(router, block.experts, jitter))
        else:
            setattr(block, gate, router)
        for name, buffer in list(block.named_buffers(recurse=False)):
            # MiniMax-M2's selection bias: no checkpoint of ours holds it.
            block.register_buffer(name, buffer, persistent=False)


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

    # Transformers 5 keeps the dtype of the declaration; runtimes that first build models without
    # memory (vLLM) do not, and go by these names, which others may end with
    # (`mlp.shared_expert_gate.weight`). Not by the whole gate's, whose map holds integers;
    # transformers 4 knows names of modules only.
    _keep_in_fp32_modules_strict = (
        [f"{gate}.{name}" for gate in GATES_IN_LAYERS for name in FLOAT_TENSORS]
        if TRANSFORMERS_5 else ["gate"]
    )

    def __init__(self, config):
        super().__init__(config)
        keys = config.get_text_config()
        if getattr(keys, "output_router_logits", False):
            keys.output_router_logits = False
        install_routers(self, config)


def head_of(family):
    return "ForConditionalGeneration" if family.wraps else "ForCausalLM"


def models(name, family):
    """Our base model of a family and the one with an output head, by their names."""
    config = getattr(configuration_regate, f"Regate{name}Config")
    kind = head_of(family)
    base = getattr(transformers, f"{name}Model")
    head = getattr(transformers, name.removesuffix("Text") + kind)
    names = f"Regate{name}Model", f"Regate{name}{kind}"
    if TRANSFORMERS_5:
        register_conversion(config, family, names[0])
    return {
        names[0]: type(names[0], (RegateModel, base), {"config_class": config}),
        names[1]: type(names[1], (RegateModel, head), {
            "config_class": config, "forward": with_router_losses(head.forward)}),
    }


def register_conversion(config, family, base):
    """Experts are fused in memory, and tensors renamed, by model type: ours like their originals,
    in both directions. By the name of the base model's class, too, since a configuration may bear
    the original's type (a causal model holds the original's base model)."""
    from transformers import conversion_mapping as mapping

    steps = mapping.get_checkpoint_conversion_mapping(config.original_type)
    if family.gate:
        there, here = family.gate
        steps = [step for step in steps if not step.target_patterns[0].endswith("router.weight")]
        steps.append(mapping.WeightRenaming(there + r"\.", here + "."))
    for name in (config.model_type, base):
        mapping.register_checkpoint_conversion_mapping(name, steps, overwrite=True)


def __getattr__(name):
    """As in `configuration_regate.py`."""
    for family, traits in FAMILIES.items():
        if name in (f"Regate{family}Model", f"Regate{family}{head_of(traits)}"):
            globals().update(models(family, traits))
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
