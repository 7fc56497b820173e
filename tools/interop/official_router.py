# SPDX-License-Identifier: Apache-2.0
"""The router of the official Latent Prototype Routing code, re-stated from its description.

Parameter names, shapes and equations of the class `TokenDistributionRouter(config, layer_id)` for
vector similarities (arXiv 2506.21328, repository LatentPrototypeRouter, June 2025). Only what a
forward pass needs; the losses are left out.
"""

import torch
from torch import nn
from torch.nn import functional as F

METRICS = ("Cosine", "GaussianKernel", "Mahalanobis", "CrossAttention")


class Norm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, rows):
        return self.weight * rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + 1e-6)


class CrossAttention(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(size, size), nn.Linear(size, size)
        self.q_norm, self.k_norm = Norm(size), Norm(size)

    def forward(self, mu, keys):
        q, k = self.q_norm(self.q_proj(mu)), self.k_norm(self.k_proj(keys))
        return q @ k.T / mu.shape[-1] ** 0.5


class Mahalanobis(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(size))

    def forward(self, mu, keys):
        squares = (mu[:, None] - keys).square()
        return 1 / (1 + (torch.exp(-self.log_sigma) * squares).sum(-1))


class OfficialRouter(nn.Module):
    """x [B,H] -> weights [B,K], expert numbers [B,K], scores [B,M], decoded [B,H]."""

    def __init__(self, config):
        super().__init__()
        hidden, size = config["hidden_size"], config["router_latent_dim"]
        experts = next(
            config[key] for key in ("num_experts", "n_routed_experts", "num_local_experts")
            if key in config)
        if config["SimilarityMetrics"] != "VectorSimilarity":
            raise ValueError(config["SimilarityMetrics"])
        self.metric, self.top_k = config["routing_metrics"], config["num_experts_per_tok"]
        for key in ("diversity_type", "diversity_lambda", "router_ema_decay"):
            config[key]  # without a default in the code
        self.norm = nn.LayerNorm(hidden)
        self.encoder = nn.Linear(hidden, 2 * size)
        self.out_proj = nn.Linear(size, hidden)
        self.expert_keys = nn.Parameter(torch.randn(experts, size))
        self.register_buffer("ema_sums", self.expert_keys.detach().clone())
        self.register_buffer("ema_counts", torch.zeros(experts))
        kinds = {"CrossAttention": CrossAttention, "Mahalanobis": Mahalanobis}
        if self.metric in kinds:
            self.similarity_func = kinds[self.metric](size)

    def scores(self, mu):
        keys = self.expert_keys
        if self.metric == "Cosine":
            return F.cosine_similarity(mu[:, None], keys, dim=-1, eps=1e-8)
        if self.metric == "GaussianKernel":
            return torch.exp(-(mu[:, None] - keys).square().sum(-1) / 2)
        return self.similarity_func(mu, keys)

    def forward(self, x):
        mu, _ = self.encoder(F.silu(self.norm(x))).chunk(2, dim=-1)
        scores = self.scores(mu)
        chosen, experts = scores.topk(self.top_k)
        context = scores.softmax(-1) @ self.expert_keys
        return chosen.float().softmax(-1), experts, scores, self.out_proj(context)
