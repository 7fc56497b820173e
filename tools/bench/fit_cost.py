#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What fitting one layer costs, phase by phase, beside the same steps in PyTorch on the CPU.

    fit_cost.py --regate .build/release/regate [--tokens 65536] [--threads 2] [--torch] [--work DIR]

Makes one layer of Qwen3-30B-A3B's shape (hidden size 2048, 128 experts of width 768, top-8) with
random experts, and router inputs that come in texts and use few experts much: a capture. Then
`regate fit` fits both forms; times by phase and peak memory are printed.

With --torch the same steps are timed in PyTorch, on the sizes and pass counts of the tool's fit, on
the seven eighths of the tokens that are not held out: original routing, latent space (eigenvectors of
the logits' covariance, sizes tried), selection bias (Rprop with real top-K, then with slopes), clone
plan (plans balanced one after another on 4,096 tokens), and the stock form's 4,000 steps of Adam on
256 tokens. They are timed on random values of these shapes: every step has a fixed amount of work, but
for the number of plans, which is taken from --plans.
"""
import argparse
import json
import re
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

H, E, K, WIDTH, TEXT = 2048, 128, 8, 768, 128


def bf16(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors, metadata=None):
    """`tensors`: name, dtype, array."""
    header, offset = {"__metadata__": metadata} if metadata else {}, 0
    for name, kind, values in tensors:
        header[name] = {"dtype": kind, "shape": values.shape,
                        "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, values in tensors:
            file.write(values.data)


def make(work, tokens):
    """The model's folder and the capture."""
    random = np.random.default_rng(0)
    model = work / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps({
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": H,
        "num_hidden_layers": 1, "num_experts": E, "num_experts_per_tok": K, "norm_topk_prob": True,
        "moe_intermediate_size": WIDTH, "intermediate_size": WIDTH, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 1000, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "rms_norm_eps": 1e-6, "hidden_act": "silu"}))
    # Logits of a spread of 2 in 64 directions, a third of their variance common to a text, and a
    # constant part that makes some experts hot.
    directions = random.standard_normal((64, H), np.float32)
    gate = random.standard_normal((E, 64), np.float32) @ directions * (1.6 / 8 / H)
    constant = random.standard_normal(H).astype(np.float32)
    gate += np.outer(random.standard_normal(E), constant).astype(np.float32) * (1.2 / H)
    prefix, tensors = "model.layers.0.mlp.", []
    tensors.append((prefix + "gate.weight", "BF16", bf16(gate)))
    for expert in range(E):
        for name, shape in (("gate_proj", (WIDTH, H)), ("up_proj", (WIDTH, H)), ("down_proj", (H, WIDTH))):
            values = random.standard_normal(shape, np.float32) * shape[1] ** -0.5
            tensors.append((f"{prefix}experts.{expert}.{name}.weight", "BF16", bf16(values)))
    write_safetensors(model / "model.safetensors", tensors)
    texts = np.repeat(random.standard_normal((tokens // TEXT + 1, 64), np.float32), TEXT, 0)[:tokens]
    places = random.standard_normal((tokens, 64), np.float32) * 0.8 + texts * 0.6
    inputs = places @ directions * 0.125 + constant
    inputs += random.standard_normal((tokens, H), np.float32) * 0.5
    capture = work / "capture.safetensors"
    write_safetensors(capture, [("layers.0.router_input", "F32", inputs)],
                      {"format": "regate.capture.v1", "source": "random"})
    return model, capture


def regate(options, model, capture):
    command = ["/usr/bin/time", "-v", options.regate, "fit", model, "--calibration", capture,
               "--router", "lpr", "--output", options.work / "my.fit", "--overwrite",
               "--threads", str(options.threads), "--json", "-q"]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    report = json.loads(result.stdout)
    peak = int(re.search(r"Maximum resident set size \(kbytes\): (\d+)", result.stderr).group(1))
    return report["fit_seconds"], report["seconds"], peak * 1024


def in_torch(options):
    """Seconds by phase of the same steps in PyTorch."""
    import torch
    torch.set_num_threads(options.threads)
    tokens, seconds = options.tokens * 7 // 8, {}
    x = torch.randn(tokens, H)
    gate = torch.randn(E, H) / H ** 0.5

    def timed(phase, work):
        start = time.monotonic()
        result = work()
        seconds[phase] = seconds.get(phase, 0) + time.monotonic() - start
        return result

    def load(compared):
        return torch.bincount(compared.topk(K, 1).indices.flatten(), minlength=E)

    def prices(scores, passes):
        b, step, sign = torch.zeros(E), torch.full((E,), 0.01), torch.zeros(E)
        for _ in range(passes):
            error = load(scores + b) / (len(scores) * K) - 1 / E
            same = error.sign() == sign
            step, sign = torch.where(same, step * 1.3, step * 0.5), error.sign()
            b = b - sign * step
        return b

    def latent(x):
        logits = x @ gate.T
        covariance = (logits.double().T @ logits.double()) / len(x)
        vectors = torch.linalg.eigh(covariance).eigenvectors.float()
        for size in range(8, 65, 8):  # sizes tried on 8,192 tokens
            z = x[:8192] @ (vectors[:, -size:].T @ gate).T
            (z @ vectors[:, -size:].T).softmax(1).topk(K, 1)
        encoder = vectors[:, -64:].T @ gate
        z = x @ encoder.T
        return z, (z @ vectors[:, -64:].T).softmax(1)

    def plan(scores, vectors):
        sample = scores[:: max(1, len(scores) // 4096)][:4096].contiguous()
        for index in range(options.plans):
            b = prices(sample, 80 if index < 6 else 25)
            chosen = (sample + b).topk(K, 1).indices
            weights = sample.gather(1, chosen)
            weights = weights / weights.sum(1, keepdim=True)
            (weights[..., None] * vectors[chosen]).sum(1).square().sum()

    def selection_bias(z, scores):
        rows = torch.arange(0, len(z), max(1, len(z) // 16384))[:16384]
        places, sample = z[rows], scores[rows]
        slopes, b = torch.zeros(E, z.shape[1]), torch.zeros(E)
        for _ in range(100):
            chosen = (sample + places @ slopes.T + b).topk(K, 1).indices
            mask = torch.zeros(len(rows), E).scatter_(1, chosen, 1.0)
            slopes = 0.9 * slopes - 1e-4 * (mask.T @ places) / len(rows)
        compared = scores + z @ slopes.T
        prices(compared[rows], 80)
        return prices(compared, 40)

    def prototype_form(x):
        z, scores = timed("latent_space", lambda: latent(x))
        timed("clone_plan", lambda: plan(scores, torch.randn(E, 32)))
        timed("selection_bias", lambda: selection_bias(z, scores))

    def stock():
        weight = (torch.randn(E, H) / H ** 0.5).requires_grad_()
        adam = torch.optim.Adam([weight], lr=1e-3)
        wanted, multiplier = torch.rand(tokens, E), torch.zeros(E)
        for _ in range(4000):
            rows = torch.randint(0, tokens, (256,))
            logits = x[rows] @ weight.T
            border = logits.topk(K + 1, 1).values[:, -2:].mean(1, keepdim=True)
            member = ((logits - border) / 0.5).sigmoid()
            share = logits.softmax(1) * member
            share = share / share.sum(1, keepdim=True)
            loss = (share - wanted[rows]).square().sum(1).mean() + (member * multiplier).sum(1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            multiplier = multiplier + 1e-3 * (load(logits.detach()) / (len(rows) * K) * E - 1)

    timed("original_routing", lambda: (x @ gate.T).softmax(1).topk(K, 1))
    prototype_form(x)
    timed("stock_form", stock)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regate", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--plans", type=int, default=390, help="plans that a clone plan's search tries")
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        options.work = options.work or Path(scratch)
        model, capture = make(options.work, options.tokens)
        ours, total, peak = regate(options, model, capture)
        rival = in_torch(options) if options.torch else {}
    print(f"{options.tokens} tokens, {options.threads} threads; peak {peak / 1e6:.0f} MB resident, router "
          f"inputs {options.tokens * H * 4 / 1e6:.0f} MB of it; whole command {total:.1f} s\n")
    print("| phase | regate, s | PyTorch, s | ratio |\n|---|---|---|---|")
    fit = rest = 0.0
    for phase, seconds in ours.items():
        other = rival.get(phase)
        if phase not in ("expert_outputs", "model"):
            fit += seconds
            rest += other or 0
        print(f"| {phase.replace('_', ' ')} | {seconds:.2f} | {f'{other:.2f}' if other else ''} "
              f"| {f'{other / seconds:.1f}' if other and seconds else ''} |")
    print(f"| fit | {fit:.2f} | {f'{rest:.2f}' if rest else ''} | {f'{rest / fit:.1f}' if rest else ''} |")


if __name__ == "__main__":
    main()
