# SPDX-License-Identifier: Apache-2.0
"""The time of a gate of the prototype form, as servers run it, against the linear gate that it
replaces; on the CPU, in Float32.

    python tools/bench/gate.py [--experts 128] [--hidden 2048] [--latent 64] [--forms linear-dot]

Gates of 48 layers in turn, as a model's, so that weights come from memory and not from the cache of
a core; half of the experts are clones. The fastest of repeated rounds, both gates in each.
"""

import argparse
import sys
import time
import types
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/python"))
form = types.ModuleType("regate_serving.form")  # As in the wheel.
form.__path__ = [str(ROOT / "Sources/Forms/Modelling")]
sys.modules["regate_serving.form"] = form

from regate_serving.form.configuration_regate import RegateQwen3MoeConfig  # noqa: E402
from regate_serving.gate import ServedGate  # noqa: E402

LAYERS = 48
# Tokens; calls of a round, which is short, so that some rounds are not interrupted; rounds.
SIZES = ((1, 12, 400), (64, 4, 100), (4096, 1, 12))


def served(options, encoder, similarity):
    config = RegateQwen3MoeConfig(
        regate=dict(version=4, encoder=encoder, similarity=similarity), norm_topk_prob=True,
        hidden_size=options.hidden, num_experts=options.experts, num_experts_per_tok=8)
    gate = ServedGate(config, options.latent)
    tensors = gate.state_dict()
    half = options.experts // 2
    clones = torch.randint(0, half, (options.experts - half,))
    tensors["physical_to_logical"] = torch.cat([torch.arange(half), clones])
    gate.load(tensors, "gate")
    return gate


def fastest(gates, x, calls, rounds):
    """The time of a call of each of the two lists of gates, in seconds."""
    found = [[], []]
    for number in range(rounds):
        for side, times in zip(gates, found):
            mine = [side[(number * calls + call) % len(side)] for call in range(calls)]
            start = time.perf_counter()
            for gate in mine:
                gate(x)
            times.append((time.perf_counter() - start) / calls)
    return [min(times) for times in found]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--experts", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--compile", action="store_true", 
                        help="both by torch.compile, one layer alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--forms", nargs="+", default=["linear-dot", "lpr-dot", "linear-cosine"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layers = 1 if options.compile else LAYERS
    linear = [torch.nn.Linear(options.hidden, options.experts, bias=False) for _ in range(layers)]
    print(f"torch {torch.__version__}, {options.threads} threads, E = {options.experts}, "
          f"H = {options.hidden}, R = {options.latent}")
    print("| form | T | linear gate, us | prototype gate, us | ratio |\n|---|---|---|---|---|")
    for name in options.forms:
        gates = [served(options, *name.split("-")) for _ in linear]
        if options.compile:
            linear, gates = ([torch.compile(side[0])] for side in (linear, gates))
        for tokens, calls, rounds in SIZES:
            x = torch.randn(tokens, options.hidden)
            with torch.inference_mode():
                stock, ours = fastest((linear, gates), x, calls, rounds)
            print(f"| {name} | {tokens} | {1e6 * stock:.0f} | {1e6 * ours:.0f} | "
                  f"{ours / stock:.2f} |", flush=True)


if __name__ == "__main__":
    main()
