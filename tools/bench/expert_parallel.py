# SPDX-License-Identifier: Apache-2.0
"""What a balanced load is worth to the busiest rank of expert parallelism, simulated on one GPU.

    python tools/bench/expert_parallel.py NAME=VALIDATED.json:SIDE ... [--ranks 8]
        [--tokens 256 4096 32768]

VALIDATED.json is of `regate validate --json`, SIDE is `original` or `patched`. Its expert loads go
to the shapes of Qwen3-30B-A3B (hidden 2048, 128 experts of width 768, top-8, bfloat16): each of
its E experts becomes 128/E that share its load evenly, consecutive experts lie on one rank, and a
batch is drawn from the load. The grouped products of each rank are timed one rank after another,
as CUDA graphs; the largest time is what a group of that many GPUs would wait for. Communication,
attention and the router are not in it. `even`, where every expert serves equally many, is added.
"""

import argparse
import json

import numpy as np
import torch
from torch.nn import functional as F

HIDDEN, WIDTH, EXPERTS, TOP_K = 2048, 768, 128, 8
REPEATS = 15


def loads(argument):
    """Probabilities [layers,128] of the experts."""
    file, side = argument.rsplit(":", 1)
    with open(file) as lines:
        rows = np.array([layer[side]["load"] for layer in json.load(lines)["layers"]], float)
    spread = np.repeat(rows, EXPERTS // rows.shape[1], axis=1)
    return spread / spread.sum(1, keepdims=True)


class Rank:
    """The experts of a rank."""

    def __init__(self, experts):
        kind = dict(device="cuda", dtype=torch.bfloat16)
        self.up = torch.randn(experts, HIDDEN, 2 * WIDTH, **kind) / HIDDEN**0.5
        self.down = torch.randn(experts, WIDTH, HIDDEN, **kind) / WIDTH**0.5

    def run(self, x, ends):
        gate, up = torch._grouped_mm(x, self.up, offs=ends).chunk(2, -1)
        return torch._grouped_mm(F.silu(gate) * up, self.down, offs=ends)

    def microseconds(self, counts):
        """The median time for so many tokens of each expert."""
        ends = torch.tensor(np.cumsum(counts), dtype=torch.int32, device="cuda")
        x = torch.randn(max(1, counts.sum()), HIDDEN, device="cuda", dtype=torch.bfloat16)
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        with torch.cuda.stream(side):
            self.run(x, ends)
        side.synchronize()
        with torch.cuda.graph(graph):
            self.run(x, ends)
        marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(REPEATS)]
        for start, end in marks:
            start.record()
            graph.replay()
            end.record()
        torch.cuda.synchronize()
        return 1e3 * float(np.median([start.elapsed_time(end) for start, end in marks]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("loads", nargs="+", metavar="NAME=VALIDATED.json:SIDE")
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--tokens", type=int, nargs="+", default=[256, 4096, 32768])
    options = parser.parse_args()
    named = {name: loads(rest) for name, rest in (one.split("=", 1) for one in options.loads)}
    named["even"] = np.full_like(next(iter(named.values())), 1 / EXPERTS)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.ranks} ranks")
    print("| T | load | tokens, busiest rank / mean | busiest rank, us a layer | mean rank | "
          "time of the first load / this |\n|---|---|---|---|---|---|")
    rank, first = Rank(EXPERTS // options.ranks), None
    for tokens in options.tokens:
        first = None
        for name, rows in named.items():
            draw, times, shares = np.random.default_rng(0), [], []
            for row in rows:
                counts = (draw.multinomial(tokens * TOP_K, row) if name != "even" else
                          np.full(EXPERTS, tokens * TOP_K // EXPERTS)).reshape(options.ranks, -1)
                with torch.inference_mode():
                    times.append([rank.microseconds(own) for own in counts])
                shares.append(counts.sum(1).max() / counts.sum(1).mean())
            busiest = np.max(times, 1).mean()
            first = first or busiest
            print(f"| {tokens} | {name} | {np.mean(shares):.2f} | {busiest:.0f} | "
                  f"{np.mean(times):.0f} | {first / busiest:.2f} |", flush=True)


if __name__ == "__main__":
    main()
