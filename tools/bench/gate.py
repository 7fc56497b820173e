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


def seconds(gates, x, calls):
    start = time.perf_counter()
    for call in range(calls):
        gates[call % LAYERS](x)
    return (time.perf_counter() - start) / calls


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--experts", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--forms", nargs="+", default=["linear-dot", "lpr-dot", "linear-cosine"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    linear = [torch.nn.Linear(options.hidden, options.experts, bias=False) for _ in range(LAYERS)]
    print(f"torch {torch.__version__}, {options.threads} threads, E = {options.experts}, "
          f"H = {options.hidden}, R = {options.latent}")
    print("| form | T | linear gate, us | prototype gate, us | ratio |\n|---|---|---|---|---|")
    for name in options.forms:
        gates = [served(options, *name.split("-")) for _ in range(LAYERS)]
        for tokens, calls in ((1, 2 * LAYERS), (64, LAYERS), (4096, 2)):
            x = torch.randn(tokens, options.hidden)
            with torch.inference_mode():
                seconds(linear, x, calls), seconds(gates, x, calls)
                rounds = [(seconds(linear, x, calls), seconds(gates, x, calls))
                          for _ in range(options.rounds)]
            stock, ours = (1e6 * min(times) for times in zip(*rounds))
            print(f"| {name} | {tokens} | {stock:.0f} | {ours:.0f} | {ours / stock:.2f} |",
                  flush=True)


if __name__ == "__main__":
    main()
