# SPDX-License-Identifier: Apache-2.0
"""The native router from its specification (the library's NativeRouter page), in plain numpy.

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


class NativeRouter:
    def __init__(self, checkpoint, layer):
        prefix = router_prefix(checkpoint, layer)
        config = self.config = checkpoint.config
        get = lambda name: checkpoint[prefix + name].numpy()  # noqa: E731
        self.A, self.p, self.a = get("weight"), get("function_prototypes"), get("function_bias")
        self.b, self.function = get("function_potentials"), get("slot_function")
        self.c, self.beta = get("slot_prototypes"), get("slot_potentials")
        self.family = config["model_type"].removeprefix("regate_")
        self.top_k = config["num_experts_per_tok"]
        self.experts = len(self.function)

    def nodes(self):
        """(number, kept) of the family's node-limited rule, or None."""
        if self.family == "deepseek_v2" and self.config["topk_method"] != "group_limited_greedy":
            return None
        if self.family in ("deepseek_v2", "deepseek_v3"):
            number, kept = self.config["n_group"], self.config["topk_group"]
            return (number, kept) if kept < number else None
        return None

    def scores(self, z):
        logits = z @ self.p.T + self.a
        if self.family == "deepseek_v3":
            return 1 / (1 + np.exp(-logits))
        powers = np.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)

    def chosen(self, pi):
        """The K functions of one token, best first."""
        value = {f: pi[f] + self.b[f] for f in range(self.experts) if f in self.function}
        if self.nodes():
            number, kept = self.nodes()
            size = self.experts // number
            two = 2 if self.family == "deepseek_v3" else 1
            members = [[f for f in value if f // size == node] for node in range(number)]
            score = [sum(sorted((value[f] for f in node), reverse=True)[:two]) if node else -np.inf
                     for node in members]
            best = sorted(range(number), key=lambda node: (-score[node], node))[:kept]
            for node in set(range(number)) - set(best):
                for f in members[node]:
                    if self.family == "deepseek_v3":
                        del value[f]
                    else:
                        value[f] = np.float32(0)
        return sorted(value, key=lambda f: (-value[f], f))[: self.top_k]

    def slot(self, z, function):
        held = [j for j in range(self.experts) if self.function[j] == function]
        return max(held, key=lambda j: (z @ self.c[j] + self.beta[j], -j))

    def weights(self, pi):
        """The family's rule on pi [K] of the chosen functions."""
        asked = self.config.get("norm_topk_prob", False)
        if self.family == "mixtral" or (self.family == "qwen3_moe" and asked):
            pi = pi / pi.sum()
        if self.family == "deepseek_v3" and asked:
            pi = pi / (pi.sum() + np.float32(1e-20))
        if self.family.startswith("deepseek"):
            pi = pi * np.float32(self.config["routed_scaling_factor"])
        return pi

    def __call__(self, x):
        """Slots and weights [T,K] of router inputs x [T,H], Float32."""
        z = x.astype(np.float32) @ self.A
        pi = self.scores(z)
        functions = [self.chosen(row) for row in pi]
        slots = [[self.slot(z[t], f) for f in row] for t, row in enumerate(functions)]
        weights = [self.weights(pi[t, row]) for t, row in enumerate(functions)]
        return np.array(slots), np.array(weights, np.float32)
