#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A router without parameters: cosine to the mean of the tokens that an expert serves.

    kmeans_router.py MODEL CALIBRATION.npy HELDOUT.npy [--ranks 2,4,8]

Runs MODEL (Mixtral, Qwen3-MoE or DeepSeek-V3) in transformers 5. Layer after layer, each expert's
gate row becomes the direction of the mean of the calibration tokens that the original sends to it,
and tokens choose by cosine, as much spread as the original's logits are; a selection bias is
dropped. What balance and loss it gives on held-out ids is printed as JSON, as ranks.py reads it.
"""

import argparse
import json

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from assignment_bound import gini, nll


class CosineGate(torch.nn.Module):
    """Stands in for a router: first it looks on, then it takes over."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate
        self.rows = None
        self.scale = None
        self.load = None

    def learn(self, inputs, logits, chosen):
        sums = torch.zeros_like(self.gate.weight)
        for place in range(chosen.shape[1]):
            sums.index_add_(0, chosen[:, place], inputs)
        self.rows = torch.nn.functional.normalize(sums, dim=1)
        cosines = torch.nn.functional.normalize(inputs, dim=1) @ self.rows.T
        self.scale = logits.std(1).mean() / cosines.std(1).mean()

    def forward(self, hidden_states):
        inputs = hidden_states.reshape(-1, hidden_states.shape[-1])
        original = self.gate.weight.data
        if self.rows is None:
            logits, _, chosen = self.gate(hidden_states)
            self.learn(inputs, inputs @ original.T, chosen)
        if hasattr(self.gate, "e_score_correction_bias"):
            self.gate.e_score_correction_bias.zero_()
        # The family's own rule on other logits: its gate is linear in what it is given.
        cosines = torch.nn.functional.normalize(inputs, dim=1) * self.scale
        self.gate.weight.data = self.rows
        result = self.gate(cosines.reshape(hidden_states.shape))
        self.gate.weight.data = original
        self.load = torch.bincount(result[2].flatten(), minlength=len(original))
        return result


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("calibration")
    parser.add_argument("heldout")
    parser.add_argument("--ranks", default="")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    calibration, heldout = (torch.tensor(np.load(path).astype(np.int64))
                            for path in (options.calibration, options.heldout))
    model = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=torch.float32, attn_implementation="sdpa").eval()
    original = nll(model, heldout)
    gates = []
    for layer in model.model.layers:
        if hasattr(layer.mlp, "experts"):
            layer.mlp.gate = CosineGate(layer.mlp.gate)
            gates.append(layer.mlp.gate)
    model.model(input_ids=calibration, use_cache=False)
    patched = nll(model, heldout)
    loads = [gate.load.double() for gate in gates]
    busiest = {rank: float(np.mean([
        (load.reshape(int(rank), -1).sum(1).max() / load.sum() * int(rank)).item()
        for load in loads])) for rank in options.ranks.split(",") if rank}
    print(json.dumps({
        "gini": float(np.mean([gini(load.numpy()) for load in loads])),
        "min/max": float(np.mean([(load.min() / load.max()).item() for load in loads])),
        "busiest": busiest, "loss": patched - original, "again": patched - original}))


if __name__ == "__main__":
    main()
