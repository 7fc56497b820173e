# SPDX-License-Identifier: Apache-2.0
"""The time of a gate of the prototype form, as servers run it, against the linear gate that it
replaces: on a CPU in Float32, on a GPU in bfloat16 (the prototype gate in Float32 there, too).

    python tools/bench/gate.py [--device cuda] [--ways eager compiled graph compiled-graph]
        [--experts 128] [--hidden 2048] [--latent 64] [--forms linear-dot]

Gates of several layers in turn, as a model's; on a CPU so many that weights come from memory and
not from the cache of a core. Half of the experts are clones. The CPU's time is the fastest of
repeated rounds, both gates in each, the GPU's their median. `graph` is a CUDA graph, `compiled`
torch.compile with fullgraph=True. Against torch's operations on the CPU: the share of tokens for
which the gate chooses the same experts, and the largest difference of a logit of theirs.
"""

import argparse
import copy
import statistics
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
from regate_serving.gate import NEVER, ServedGate  # noqa: E402

# Tokens; on a CPU gates of a round, which is short, so that some rounds are not interrupted, and
# rounds.
SIZES = ((1, 12, 400), (64, 4, 100), (4096, 1, 12))
CPU_LAYERS, GPU_LAYERS, GPU_ROUNDS = 48, 8, 100
WAYS = ("eager", "compiled", "graph", "compiled-graph")


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
    return gate.to(options.device)


def prepared(gates, x, way):
    """The gates on x, as a call without arguments, and what it makes."""
    def run():
        return [gate(x) for gate in gates]

    if way.startswith("compiled"):
        torch._dynamo.reset()
        run = torch.compile(run, fullgraph=True)
    made = run()
    if not way.endswith("graph"):
        return run, made
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        made = run()
    graph.replay()
    return graph.replay, made


def compared(gate, x, logits):
    """What `logits` share with those of torch's operations on the CPU: see above."""
    logits, expected = logits.cpu(), copy.deepcopy(gate).cpu().plain(x.cpu())
    same = ((logits > NEVER) == (expected > NEVER)).all(1)
    return same.double().mean().item(), (logits - expected)[same].abs().max().item()


def times(sides, parts, rounds, device):
    """Seconds of a gate, for each of some lists of calls, which `parts` gates share."""
    found = [[] for _ in sides]
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for number in range(rounds):
        for side, seconds in zip(sides, found):
            wait()
            start = time.perf_counter()
            side[number % len(side)]()
            wait()
            seconds.append((time.perf_counter() - start) / parts)
    return [(statistics.median if device == "cuda" else min)(seconds) for seconds in found]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--experts", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--latent", type=int, default=64)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--ways", nargs="+", default=["eager"], choices=WAYS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--forms", nargs="+", default=["linear-dot", "lpr-dot", "linear-cosine"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    gpu = options.device == "cuda"
    kind = dict(dtype=torch.bfloat16 if gpu else torch.float32, device=options.device)
    layers = GPU_LAYERS if gpu else CPU_LAYERS
    linear = [torch.nn.Linear(options.hidden, options.experts, bias=False, **kind)
              for _ in range(layers)]
    machine = torch.cuda.get_device_name() if gpu else f"{options.threads} threads"
    print(f"torch {torch.__version__}, {machine}, E = {options.experts}, H = {options.hidden}, "
          f"R = {options.latent}")
    print("| form | way | T | linear gate, us | prototype gate, us | ratio | same choice | logits "
          "|")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.forms:
        gates = [served(options, *name.split("-")) for _ in linear]
        for way in options.ways:
            for tokens, part, rounds in SIZES:
                if gpu:
                    part, rounds = layers, GPU_ROUNDS
                x = torch.randn(tokens, options.hidden, **kind)
                with torch.inference_mode():
                    sides = [[prepared(side[n:n + part], x, way) for n in range(0, layers, part)]
                             for side in (linear, gates)]
                    calls = [[call for call, _ in side] for side in sides]
                    stock, ours = times(calls, part, rounds, options.device)
                    same, apart = compared(gates[0], x, sides[1][0][1][0][0])
                print(f"| {name} | {way} | {tokens} | {1e6 * stock:.1f} | {1e6 * ours:.1f} | "
                      f"{ours / stock:.2f} | {same:.4f} | {apart:.0e} |", flush=True)


if __name__ == "__main__":
    main()
