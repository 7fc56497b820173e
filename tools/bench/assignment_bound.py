#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How little balance can cost: the best balanced assignment, each token choosing freely.

    assignment_bound.py MODEL PATCHED IDS.npy [--no-clones]

Runs MODEL (Mixtral, Qwen3-MoE or DeepSeek-V3) in transformers 5 on ids [S,L], once as it is and once
with every MoE layer's experts chosen anew: with the expert map of PATCHED, for every token the K
logical experts whose weighted sum (the original's scores, normalised) is closest to the original
router's output, under prices that give every physical expert the same load on these very tokens. No
router decides here and nothing is held out, so that no router can be expected to lose less at such a
balance. The search exchanges one expert at a time; DeepSeek's group limit is not kept.
Prints loss in nats, and Gini and relative output error, means over layers.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from transformers import AutoModelForCausalLM

ROUNDS = 400
EXCHANGES = 6


def gini(load):
    load = np.sort(np.asarray(load, float))
    count = len(load)
    return float(((2 * np.arange(1, count + 1) - count - 1) * load).sum() / (count * load.sum()))


def expert_outputs(experts, inputs):
    """[T,E,H]"""
    outputs = []
    for pair, down in zip(experts.gate_up_proj, experts.down_proj):
        gate, up = (inputs @ pair.T).chunk(2, dim=-1)
        outputs.append((experts.act_fn(gate) * up) @ down.T)
    return torch.stack(outputs, dim=1)


class Assignment:
    """Sets of K logical experts a token, improved by exchanges under prices."""

    def __init__(self, scores, outputs, start):
        self.weights = scores  # [T,E]
        self.gram = outputs @ outputs.transpose(1, 2)  # [T,E,E]
        total = scores.gather(1, start)
        total = total / total.sum(1, keepdim=True)
        target = (total[:, :, None] * outputs.gather(
            1, start[:, :, None].expand(-1, -1, outputs.shape[2]))).sum(1)
        self.projection = (outputs @ target[:, :, None])[:, :, 0]  # y_e . y, [T,E]
        self.energy = target.square().sum(1)  # [T]
        self.chosen = start.clone()

    def errors(self, numerator, cross, total):
        """||N/D - y||^2 from N.N, N.y and D."""
        return numerator / total**2 - 2 * cross / total

    def exchange(self, prices):
        """Makes every token's best exchange, if one lowers error plus prices."""
        tokens = torch.arange(len(self.chosen))
        held = self.weights.gather(1, self.chosen)  # [T,K]
        mask = torch.zeros_like(self.weights).scatter(1, self.chosen, held)
        with_all = (self.gram @ mask[:, :, None])[:, :, 0]  # N . y_e, [T,E]
        numerator = (mask * with_all).sum(1)
        cross = (mask * self.projection).sum(1)
        total = held.sum(1)
        now = self.errors(numerator, cross, total)
        best, place, partner = now.clone() * 0, torch.zeros_like(tokens), torch.zeros_like(tokens)
        for index in range(self.chosen.shape[1]):
            leaving = self.chosen[:, index]
            weight = held[:, index]
            own = self.gram[tokens, leaving]  # y_i . y_e, [T,E]
            rest = with_all - weight[:, None] * own  # (N - w_i y_i) . y_e
            base = numerator - 2 * weight * with_all[tokens, leaving] \
                + weight**2 * own[tokens, leaving]
            diagonal = self.gram.diagonal(dim1=1, dim2=2)
            after = self.errors(
                base[:, None] + 2 * self.weights * rest + self.weights**2 * diagonal,
                (cross - weight * self.projection[tokens, leaving])[:, None]
                + self.weights * self.projection,
                (total - weight)[:, None] + self.weights)
            gain = after - now[:, None] + prices[None] - prices[leaving][:, None]
            gain.scatter_(1, self.chosen, torch.inf)
            least, entering = gain.min(1)
            better = least < best
            best = torch.where(better, least, best)
            place = torch.where(better, index, place)
            partner = torch.where(better, entering, partner)
        moved = best < -1e-9
        self.chosen[tokens[moved], place[moved]] = partner[moved]
        return int(moved.sum())

    def load(self):
        return torch.bincount(self.chosen.flatten(), minlength=self.weights.shape[1])


def balance(assignment, copies):
    """Prices by signs of the excess, until the `copies` [E] of logical experts carry the same load."""
    count = len(copies)
    share = copies / copies.sum()
    served = share > 0
    scale = float(assignment.energy.mean())
    prices = torch.where(served, 0.0, 1e6 * scale)
    steps, before = torch.full((count,), 0.01 * scale), torch.zeros(count)
    for round_ in range(ROUNDS):
        for _ in range(EXCHANGES if round_ % 10 == 0 else 1):
            if not assignment.exchange(prices):
                break
        excess = assignment.load() / assignment.chosen.numel() - share
        sign = excess.sign()
        steps = torch.where(sign == before, steps * 1.2, steps * 0.5).clamp(1e-9 * scale, 0.1 * scale)
        before = sign
        near = (excess.abs() / share.clamp(min=1e-9)).clamp(max=1).sqrt()
        prices = torch.where(served, prices + sign * steps * near, prices)


class BalancedGate(torch.nn.Module):
    """Stands in for a router: same outputs, balanced on the tokens of the call."""

    def __init__(self, gate, experts, copies, deepseek):
        super().__init__()
        self.gate, self.experts, self.copies = gate, experts, copies
        self.deepseek = deepseek
        self.figures = None

    def forward(self, hidden_states):
        inputs = hidden_states.reshape(-1, hidden_states.shape[-1])
        logits, weights, start = self.gate(hidden_states)
        scores = (inputs @ self.gate.weight.T)
        scores = scores.sigmoid() if self.deepseek else scores.softmax(-1)
        assignment = Assignment(scores, expert_outputs(self.experts, inputs), start)
        balance(assignment, self.copies)
        chosen = assignment.chosen
        held = scores.gather(1, chosen)
        held = held / held.sum(1, keepdim=True)
        mask = torch.zeros_like(scores).scatter(1, chosen, held)
        error = ((mask[:, None] @ assignment.gram @ mask[:, :, None])[:, 0, 0]
                 - 2 * (mask * assignment.projection).sum(1) + assignment.energy)
        load = assignment.load()
        each = [float(load[f]) / int(n) for f, n in enumerate(self.copies) for _ in range(int(n))]
        self.figures = (gini(each), float((error.sum() / assignment.energy.sum()).sqrt()))
        return logits, held * weights.sum(1, keepdim=True), chosen


def nll(model, ids):
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1)).item()


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("patched", type=pathlib.Path)
    parser.add_argument("ids")
    parser.add_argument("--no-clones", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ids = torch.tensor(np.load(options.ids).astype(np.int64))
    model = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=torch.float32, attn_implementation="sdpa").eval()
    original = nll(model, ids)
    layers = json.loads((options.patched / "regate.json").read_text())["layers"]
    gates = []
    for layer in layers:
        block = model.model.layers[layer["index"]].mlp
        count = len(layer["physical_to_logical"])
        logical = range(count) if options.no_clones else layer["physical_to_logical"]
        copies = torch.bincount(torch.tensor(list(logical)), minlength=count).float()
        block.gate = BalancedGate(
            block.gate, block.experts, copies, model.config.model_type == "deepseek_v3")
        gates.append(block.gate)
    patched = nll(model, ids)
    figures = np.mean([gate.figures for gate in gates], axis=0)
    print(f"{ids.numel()} tokens, loss {patched - original:+.4f}, Gini {figures[0]:.4f}, "
          f"output error {figures[1]:.3f}")


if __name__ == "__main__":
    main()
