# SPDX-License-Identifier: Apache-2.0
"""The prototype router from its specification (the library's PrototypeRouter page), in plain numpy.

Written without a look at modeling_regate.py, token by token: the naive twin that tests hold the
modelling files against.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open


class Checkpoint:
    """The tensors of a checkpoint directory as they lie on disk."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        index = self.folder / "model.safetensors.index.json"
        files = (set(json.loads(index.read_text())["weight_map"].values()) if index.exists()
                 else ["model.safetensors"])
        self.files = {}
        for file in sorted(files):
            opened = safe_open(self.folder / file, "pt")
            self.files.update(dict.fromkeys(opened.keys(), opened))

    def __getitem__(self, name):
        return self.files[name].get_tensor(name)

    def names(self):
        return set(self.files)


def router_prefix(checkpoint, layer):
    """`model.layers.N.mlp.gate.`, or Mixtral's."""
    block = "block_sparse_moe" if "mixtral" in checkpoint.config["model_type"] else "mlp"
    return f"model.layers.{layer}.{block}.gate."


class PrototypeRouter:
    def __init__(self, checkpoint, layer):
        prefix = router_prefix(checkpoint, layer)
        config = self.config = checkpoint.config
        get = self.get = lambda name: checkpoint[prefix + name].numpy()
        self.encoder, self.similarity = config["regate"]["encoder"], config["regate"]["similarity"]
        self.A, self.p, self.a = get("weight"), get("logical_prototypes"), get("logit_bias")
        self.b, self.v = get("selection_bias"), get("token_bias")
        self.logical = get("physical_to_logical")
        self.c, self.beta = get("clone_prototypes"), get("clone_bias")
        self.family = config["model_type"].removeprefix("regate_")
        self.top_k = config["num_experts_per_tok"]
        self.experts = len(self.logical)

    def groups(self):
        """(number, kept) of the family's group-limited rule, or None."""
        if self.family == "deepseek_v2" and self.config["topk_method"] != "group_limited_greedy":
            return None
        if self.family in ("deepseek_v2", "deepseek_v3"):
            number, kept = self.config["n_group"], self.config["topk_group"]
            return (number, kept) if kept < number else None
        return None

    def latent(self, x):
        """z [T,R] of router inputs, and its log-variance; 0 where the encoder has none."""
        if self.encoder == "linear":
            z = x @ self.A
            return z, np.zeros_like(z)
        deviation = x - x.mean(-1, keepdims=True)
        u = deviation / np.sqrt((deviation**2).mean(-1, keepdims=True) + np.float32(1e-5))
        u = u * self.get("norm_weight") + self.get("norm_bias")
        both = u / (1 + np.exp(-u)) @ self.A + self.get("encoder_bias")
        return np.split(both, 2, axis=-1)

    def compare(self, z, lv):
        """s sim(z, p) of one token with every logical expert [E], in Float64."""
        z, lv, p = (values.astype(float) for values in (z, lv, self.p))
        lv, name = np.maximum(lv, np.log(1e-6)), self.similarity
        if name == "dot":
            return p @ z
        if name == "cross_attention":
            def side(which, rows):
                weight, bias = self.get(which + "_weight"), self.get(which + "_bias")
                rows = rows @ weight.T.astype(float) + bias
                norm = np.sqrt((rows**2).mean(-1, keepdims=True) + 1e-6)
                return rows / norm * self.get(which + "_norm")
            return side("key", p) @ side("query", z) / np.sqrt(len(z))
        scale, square = float(self.get("similarity_scale")[0]), (z - p) ** 2
        if name == "cosine":
            return scale * (p @ z) / (np.linalg.norm(p, axis=1) * np.linalg.norm(z))
        if name == "gaussian":
            return scale * np.exp(-square.sum(1) / 2)
        if name == "mahalanobis":
            return scale / (1 + (square / np.exp(self.get("log_sigma").astype(float))).sum(1))
        lw = np.maximum(self.get("prototype_log_variances").astype(float), np.log(1e-6))
        v, w = np.exp(lv), np.exp(lw)
        if name == "kl":
            return -scale * (lw - lv + (v + square) / w - 1).sum(1) / 2
        if name == "js":
            # Both KL from the midpoint, a Gaussian with the mean of means and of variances.
            m = (v + w) / 2
            both = (2 * np.log(m) - lv - lw + (v + w + square / 2) / m - 2).sum(1) / 2
            return -scale * both / 2
        if name == "hellinger":
            s = v + w + 1e-6
            factors = np.sqrt(2 * np.sqrt(v * w) / s) * np.exp(-square / (4 * s))
            return -scale * np.sqrt(1 - np.clip(factors, 1e-6, 1).prod(1))
        if name == "wasserstein":
            spread = (np.sqrt(v) - np.sqrt(w)) ** 2
            return -scale * np.sqrt((square + spread).sum(1) + 1e-6)
        raise ValueError(name)

    def scores(self, z, lv):
        logits = np.array([self.compare(*row) for row in zip(z, lv)], np.float32) + self.a
        if self.family == "deepseek_v3":
            return 1 / (1 + np.exp(-logits))
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    def chosen(self, pi, z):
        """The K logical experts of one token, best first."""
        value = {f: pi[f] + z @ self.v[f] + self.b[f] for f in range(self.experts) if f in self.logical}
        if self.groups():
            number, kept = self.groups()
            size = self.experts // number
            two = 2 if self.family == "deepseek_v3" else 1
            members = [[f for f in value if f // size == group] for group in range(number)]
            score = [sum(sorted((value[f] for f in group), reverse=True)[:two]) if group else -np.inf
                     for group in members]
            best = sorted(range(number), key=lambda group: (-score[group], group))[:kept]
            for group in set(range(number)) - set(best):
                for f in members[group]:
                    if self.family == "deepseek_v3":
                        del value[f]
                    else:
                        value[f] = np.float32(0)
        return sorted(value, key=lambda f: (-value[f], f))[: self.top_k]

    def nearest_clone(self, z, f):
        """The physical expert that serves logical expert f."""
        clones = [j for j in range(self.experts) if self.logical[j] == f]
        return max(clones, key=lambda j: (z @ self.c[j] + self.beta[j], -j))

    def weights(self, pi):
        """The family's rule on pi [K] of the chosen logical experts."""
        asked = self.config.get("norm_topk_prob", False)
        if self.family == "mixtral" or (self.family == "qwen3_moe" and asked):
            pi = pi / pi.sum()
        if self.family == "deepseek_v3" and asked:
            pi = pi / (pi.sum() + np.float32(1e-20))
        if self.family.startswith("deepseek"):
            pi = pi * np.float32(self.config["routed_scaling_factor"])
        return pi

    def __call__(self, x):
        """Physical experts and weights [T,K] of router inputs x [T,H], Float32."""
        z, lv = self.latent(x.astype(np.float32))
        pi = self.scores(z, lv)
        chosen = [self.chosen(*row) for row in zip(pi, z)]
        physical = [[self.nearest_clone(z[t], f) for f in row] for t, row in enumerate(chosen)]
        weights = [self.weights(pi[t, row]) for t, row in enumerate(chosen)]
        return np.array(physical), np.array(weights, np.float32)
