#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs to prune experts: `regate convert --prune` beside other criteria and beside clones.

    prune.py MODELS [--models NAME,...] [--shares 8,4] [--regate TOOL]

MODELS is a folder of folders, each with a checkpoint and general-{calibration,heldout}.npy. Choices
are made on the calibration ids only, and judged on the held-out ones; NLL is measured in
transformers 5 for all of them, so that only the choice differs:

    regate      experts that `regate convert --prune` left out
    frequency   those that were chosen least often
    REAP        those with the least mean of weight x output norm over the tokens that chose them
                (arXiv 2510.13999)
    all sets    those without which the layer's output is nearest to the original's, of all sets
                (arXiv 2402.14800); only where there are at most 64 sets and no groups

All but regate's look at the layers of the original model, all at once. Groups lose as many experts
each. Prints Markdown.
"""

import argparse
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

TOKENS = 4096
MOST_SETS = 64


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def nll(model, ids):
    with torch.no_grad():
        return sum(model(input_ids=row[None], labels=row[None]).loss.item() for row in ids) / len(ids)


def experts_of(model):
    """The module of each MoE layer's experts, by the layer's number."""
    found = {}
    for name, module in model.named_modules():
        if match := re.fullmatch(r"model\.layers\.(\d+)\.\w+\.experts", name):
            found[int(match[1])] = module
    return found


def recorded(model, ids):
    """What each layer's experts are given: inputs [T,H], choices [T,K] and weights [T,K]."""
    kept, hooks = {}, []
    for layer, module in experts_of(model).items():
        kept[layer] = []
        hooks.append(module.register_forward_pre_hook(
            lambda _, inputs, layer=layer: kept[layer].append([part.detach() for part in inputs[:3]])))
    with torch.no_grad():
        for row in ids:
            model(input_ids=row[None])
    for hook in hooks:
        hook.remove()
    return {layer: [torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])
                    for parts in zip(*calls)] for layer, calls in kept.items()}


def output(module, expert, inputs):
    gate, up = (inputs @ module.gate_up_proj[expert].T).chunk(2, -1)
    return (torch.nn.functional.silu(gate) * up) @ module.down_proj[expert].T


def lowest(scores, count, groups):
    """The `count` experts with the least scores, as many of each group."""
    size = len(scores) // groups
    return sorted(
        expert for group in range(groups)
        for expert in sorted(range(group * size, (group + 1) * size), key=lambda e: scores[e])
        [: count // groups])


def by_scores(model, record, count, groups):
    """{criterion: {layer: experts that go}}"""
    chosen = {"frequency": {}, "REAP": {}}
    for layer, module in experts_of(model).items():
        inputs, choice, weights = record[layer]
        frequency, saliency = [], []
        for expert in range(len(module.down_proj)):
            token, rank = (choice == expert).nonzero(as_tuple=True)
            frequency.append(len(token))
            norms = output(module, expert, inputs[token]).norm(dim=-1)
            saliency.append((weights[token, rank] * norms).mean().item() if len(token) else 0.0)
        chosen["frequency"][layer] = lowest(frequency, count, groups)
        chosen["REAP"][layer] = lowest(saliency, count, groups)
    return chosen


def by_all_sets(model, record, count):
    """{layer: experts that go}; softmax over the experts that stay, renormalised."""
    chosen = {}
    top = model.config.num_experts_per_tok
    gates = {name: value for name, value in model.named_parameters()}
    for layer, module in experts_of(model).items():
        inputs = record[layer][0][:TOKENS]
        gate = next(value for name, value in gates.items()
                    if re.fullmatch(rf"model\.layers\.{layer}\.\w+\.gate\.weight", name))
        logits = inputs @ gate.T
        outputs = torch.stack([output(module, e, inputs) for e in range(len(module.down_proj))])

        def mixed(left):
            best = logits[:, left].topk(top, -1)
            weights = torch.zeros(len(inputs), len(left)).scatter(1, best.indices, best.values.softmax(-1))
            return torch.einsum("te,eth->th", weights, outputs[left])

        everyone = list(range(len(outputs)))
        wanted = mixed(everyone)
        chosen[layer] = min(
            itertools.combinations(everyone, count),
            key=lambda gone: (mixed([e for e in everyone if e not in gone]) - wanted).norm().item())
    return chosen


def without(folder, model, gone):
    """The model without some experts of each layer."""
    config = AutoConfig.from_pretrained(folder)
    experts = len(next(iter(experts_of(model).values())).down_proj)
    left = experts - len(next(iter(gone.values())))
    for key in ("num_experts", "num_local_experts", "n_routed_experts"):
        if hasattr(config, key):
            setattr(config, key, left)
    smaller = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    state = model.state_dict()
    for name, value in state.items():
        match = re.match(r"model\.layers\.(\d+)\.\w+\.(experts|gate)\.", name)
        if match and int(match[1]) in gone and len(value) == experts:
            state[name] = value[[e for e in range(experts) if e not in gone[int(match[1])]]]
    smaller.load_state_dict(state)
    return smaller


def regate(tool, *words):
    result = subprocess.run([tool, *map(str, words), "--json", "-q"], capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout)


def row(options, name, share):
    folder = options.models / name
    model = load(folder)
    groups = getattr(model.config, "n_group", None) or 1
    experts = len(next(iter(experts_of(model).values())).down_proj)
    count = max(experts // share // groups, 1) * groups
    calibration, heldout = (torch.tensor(np.load(folder / f"general-{part}.npy").astype(np.int64))
                            for part in ("calibration", "heldout"))
    before = nll(model, heldout)
    with torch.no_grad():
        record = recorded(model, calibration)
        choices = by_scores(model, record, count, groups)
        sets = sum(1 for _ in itertools.islice(itertools.combinations(range(experts), count), MOST_SETS + 1))
        if groups == 1 and sets <= MOST_SETS:
            choices["all sets"] = by_all_sets(model, record, count)
    losses = {criterion: nll(without(folder, model, gone), heldout) - before
              for criterion, gone in choices.items()}
    with tempfile.TemporaryDirectory() as work:
        output = pathlib.Path(work) / "pruned"
        fit = regate(options.regate, "convert", folder, "--calibration",
                     folder / "general-calibration.npy", "--prune", count, "--output", output)
        losses["regate"] = nll(load(output), heldout) - before
    overlap = np.mean([len(set(gone) & set(choices["REAP"][int(layer)])) / count
                       for layer, gone in fit["pruned"].items()])
    cells = [f"{losses[key]:+.4f}" if key in losses else ""
             for key in ("regate", "frequency", "REAP", "all sets")]
    return [name, f"{count} of {experts}", *cells, f"{overlap:.0%}", f"{fit['seconds']:.0f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("--models", dest="names")
    parser.add_argument("--shares", default="8,4", help="one in so many experts goes")
    parser.add_argument("--regate", default=".build/release/regate")
    options = parser.parse_args()
    names = options.names.split(",") if options.names else sorted(
        folder.parent.name for folder in options.models.glob("*/config.json"))
    print("| model | experts that go | regate | frequency | REAP | all sets | same as REAP's | seconds |")
    print("|" + "---|" * 8, flush=True)
    for name in names:
        for share in map(int, options.shares.split(",")):
            print("| " + " | ".join(row(options, name, share)) + " |", flush=True)


if __name__ == "__main__":
    main()
