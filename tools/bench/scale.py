#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a capture, a fit and a conversion cost against tokens, layers, experts and hidden size, and from that
what the largest models would on many machines.

    scale.py --regate .build/release/regate [--threads 2] [--tokens 1000000] [--disk BYTES_A_SECOND] [--work DIR]

Makes models of random weights with Qwen3-MoE's layers, one size different at a time, runs the three commands on
each, and prints seconds and the exponent with which they grow: the slope of the logarithms, once the time that the
smallest size takes for nothing (`--version`) is gone. What grows faster than in proportion is named.

The plan at the end is on paper: seconds of one layer at the most measured tokens; running it in proportion to tokens
and active weights, fitting it by the exponents found for tokens, experts and hidden size; weights are read once in
every part, at --disk, while others are computed; parts of a capture (`capture --part i/n`) share the tokens, parts of
a fit (`fit --layers`) the layers. Machines are like this one and share the storage, which serves each at --disk.
Needs numpy.
"""
import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fit_cost import bf16, write_safetensors

BASE = dict(tokens=4096, layers=2, experts=64, hidden=1024)
STEPS = dict(tokens=[2048, 4096, 8192, 16384], layers=[1, 2, 4], experts=[32, 64, 128], hidden=[512, 1024, 2048])
WIDTH, TOP_K, HEAD, VOCABULARY, LENGTH = 512, 4, 64, 1024, 512

# Published configurations: MoE layers, experts, hidden size, width, experts a token (with shared ones), all bytes.
MODELS = {
    "DeepSeek-V3 (FP8)": dict(layers=58, experts=256, hidden=7168, width=2048, active=9, bytes=689e9),
    "Kimi-K2 (FP8)": dict(layers=60, experts=384, hidden=7168, width=2048, active=9, bytes=1029e9),
}


def make(folder, size):
    """A model of `size` and its token ids."""
    random = np.random.default_rng(0)
    hidden, heads = size["hidden"], size["hidden"] // HEAD
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": hidden,
        "num_hidden_layers": size["layers"], "num_experts": size["experts"], "num_experts_per_tok": TOP_K,
        "norm_topk_prob": True, "moe_intermediate_size": WIDTH, "intermediate_size": WIDTH,
        "num_attention_heads": heads, "num_key_value_heads": max(1, heads // 8), "head_dim": HEAD,
        "vocab_size": VOCABULARY, "decoder_sparse_step": 1, "mlp_only_layers": [], "rms_norm_eps": 1e-6,
        "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False, "rope_theta": 10000.0,
        "max_position_embeddings": 4096}))

    def linear(rows, columns, gain=1.0):
        return bf16(random.standard_normal((rows, columns), np.float32) * (gain / math.sqrt(columns)))

    tensors = [("model.embed_tokens.weight", "BF16", linear(VOCABULARY, hidden, math.sqrt(hidden))),
               ("model.norm.weight", "BF16", bf16(np.ones(hidden, np.float32))),
               ("lm_head.weight", "BF16", linear(VOCABULARY, hidden))]
    ones = [("input_layernorm", hidden), ("post_attention_layernorm", hidden), ("self_attn.q_norm", HEAD),
            ("self_attn.k_norm", HEAD)]
    for layer in range(size["layers"]):
        stem = f"model.layers.{layer}."
        tensors += [(f"{stem}{name}.weight", "BF16", bf16(np.ones(count, np.float32))) for name, count in ones]
        keys = max(1, heads // 8) * HEAD
        for name, rows, columns in [("q", heads * HEAD, hidden), ("k", keys, hidden), ("v", keys, hidden),
                                    ("o", hidden, heads * HEAD)]:
            tensors.append((f"{stem}self_attn.{name}_proj.weight", "BF16", linear(rows, columns)))
        # A few hot experts, as trained routers have.
        gate = random.standard_normal((size["experts"], hidden)) / math.sqrt(hidden)
        gate *= np.exp(random.standard_normal((size["experts"], 1)))
        tensors.append((stem + "mlp.gate.weight", "BF16", bf16(gate.astype(np.float32))))
        for expert in range(size["experts"]):
            for name, rows, columns in [("gate", WIDTH, hidden), ("up", WIDTH, hidden), ("down", hidden, WIDTH)]:
                tensors.append((f"{stem}mlp.experts.{expert}.{name}_proj.weight", "BF16", linear(rows, columns)))
    write_safetensors(folder / "model.safetensors", tensors)
    ids = random.integers(0, VOCABULARY, (size["tokens"] // LENGTH, LENGTH), np.int32)
    np.save(folder / "ids.npy", ids)


def timed(*command):
    start = time.monotonic()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return time.monotonic() - start


def measure(options, size):
    """Seconds of each command on a model of `size`."""
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        model = Path(work) / "model"
        make(model, size)
        capture, fit, output = (Path(work) / name for name in ("c.safetensors", "my.fit", "out"))
        threads = ["--threads", options.threads, "-q"]
        seconds = {}
        tokens = ["--max-tokens", size["tokens"]]
        seconds["capture"] = timed(options.regate, "capture", model, "--calibration", model / "ids.npy", *tokens,
                                   "--output", capture, *threads)
        seconds["fit"] = timed(options.regate, "fit", model, "--calibration", capture, "--output", fit, *threads)
        seconds["convert"] = timed(options.regate, "convert", model, "--fit", fit, "--output", output, *threads)
        seconds["cp"] = timed("cp", "-r", "--reflink=never", model, Path(work) / "copy")
        return seconds


def slope(points):
    """The exponent of seconds over size, by least squares of the logarithms."""
    x, y = np.log([point[0] for point in points]), np.log([max(1e-3, point[1]) for point in points])
    return float(np.polyfit(x, y, 1)[0])


def duration(seconds):
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.1f} min"


def plan(options, base, nothing, exponents):
    """Lines on the largest models, from one layer of `base`'s size and its seconds; `exponents` are those of a fit."""
    size, seconds = base
    per_layer = {name: (seconds[name] - nothing) / size["layers"] for name in ("capture", "fit")}
    for name, model in MODELS.items():
        active = model["active"] * model["width"] * model["hidden"] / (TOP_K * WIDTH * size["hidden"])
        for machines in (1, 8, 64):
            computed = per_layer["capture"] * options.tokens / machines / size["tokens"] * active * model["layers"]
            read = model["bytes"] / options.disk
            capture = max(computed, read)
            more = dict(tokens=options.tokens / size["tokens"], experts=model["experts"] / size["experts"],
                        hidden=model["hidden"] / size["hidden"])
            grown = math.prod(ratio ** exponents[name] for name, ratio in more.items())
            fit = per_layer["fit"] * grown * math.ceil(model["layers"] / machines)
            write = 2 * read
            kept = options.tokens * model["hidden"] * 2 * model["layers"]
            yield (f"{name}, {machines:2} machine{'s' if machines > 1 else ''}: capture {duration(capture)} "
                   f"(reading {duration(read)}, {kept / 1e9:.0f} GB written by all), fit {duration(fit)}, "
                   f"convert on one {duration(write)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regate", default=".build/release/regate")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1_000_000, help="calibration tokens of the plan")
    parser.add_argument("--disk", type=float, default=2e9, help="bytes a second that the storage gives a machine")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    nothing = min(timed(options.regate, "--version") for _ in range(3))
    known, exponents = {}, {}
    for dimension, steps in STEPS.items():
        points = {}
        for value in steps:
            size = {**BASE, dimension: value}
            key = tuple(size.values())
            if key not in known:
                known[key] = measure(options, size)
            for name, seconds in known[key].items():
                points.setdefault(name, []).append((value, seconds - nothing * (name != "cp")))
        for name, measured in points.items():
            exponent = slope(measured)
            if name == "fit":
                exponents[dimension] = exponent
            times = ", ".join(f"{value} {seconds:.2f} s" for value, seconds in measured)
            print(f"{dimension:7} {name:7} {times}: exponent {exponent:.2f}"
                  + ("  FASTER THAN LINEAR" if exponent > 1.1 else ""), flush=True)
    size = {**BASE, "tokens": STEPS["tokens"][-1]}
    print(f"\nOn paper, {options.tokens:,} tokens, {options.threads} threads of this machine each, storage of "
          f"{options.disk / 1e9:g} GB/s:")
    for line in plan(options, (size, known[tuple(size.values())]), nothing, exponents):
        print(line)


if __name__ == "__main__":
    main()
