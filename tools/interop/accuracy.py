#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How exactly Regate runs models: one table against transformers' and llama.cpp's own figures.

Takes folders that hold, beside a checkpoint, `reference.json` and `reference.safetensors` (mean NLL on
token sets, router inputs, logits and choices of the first sequences, by transformers in float32) and
`llama.json` (llama-perplexity on a text) with the GGUF files that it was run on.

  python3 tools/interop/accuracy.py --regate .build/release/regate --logits MODELS/*

Limits: NLL 2e-4; logits 2e-3 (with --logits: by `swift test`); a different expert only where the reference's own scores lie within 1e-5 of each
other; perplexity 0.5 %. Exit code 1 where one is exceeded. Needs numpy and safetensors.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors import safe_open

NLL_LIMIT, LOGIT_LIMIT, TIE, PERPLEXITY_LIMIT = 2e-4, 2e-3, 1e-5, 0.005


def run(regate, *arguments):
    result = subprocess.run([regate, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"regate {arguments[0]} failed: {result.stderr}")
    return json.loads(result.stdout)


def row(model, what, reference, found, error, limit):
    passed = error <= limit
    print(f"| {model} | {what} | {reference} | {found} | {error:.2g} | {limit:g} | {'ok' if passed else 'FAILED'} |",
          flush=True)
    return passed


def selection_scores(logits, scoring, bias):
    """What the router chooses by, without groups: softmax keeps the order of logits."""
    scores = logits.astype(np.float64)
    if scoring == "sigmoid":
        scores = 1 / (1 + np.exp(-scores))
    else:
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores /= scores.sum(axis=1, keepdims=True)
    return scores if bias is None else scores + bias


def gate(checkpoint, layer):
    """The gate and the selection bias of a layer, from the safetensors file."""
    import torch
    from safetensors import safe_open as open_file
    with open_file(checkpoint / "model.safetensors", "pt") as file:
        name = next(key for key in file.keys() if re.search(rf"\.{layer}\.(mlp|block_sparse_moe)\.gate\.weight$", key))
        bias = name.replace("weight", "e_score_correction_bias")
        found = file.get_tensor(bias).to(torch.float32).numpy() if bias in file.keys() else None
        return file.get_tensor(name).to(torch.float32).numpy(), found


def routing(regate, folder, name, scratch):
    """Router inputs, and what the router makes of them, at the reference's tokens."""
    capture = scratch / "capture.safetensors"
    run(regate, "capture", folder,
        "--precision", "f32", "--calibration", folder / "general-heldout.npy", "-o", capture, "--float32",
        "--overwrite")
    own, reference = safe_open(capture, "np"), safe_open(folder / "reference.safetensors", "np")
    scoring = "sigmoid" if "deepseek" in (json.loads((folder / "config.json").read_text())["model_type"]) else "softmax"
    worst, ties, different, chosen = 0.0, 0, 0, 0
    for key in reference.keys():
        match = re.fullmatch(r"model\.layers\.(\d+)\.mlp\.gate\.input", key)
        if not match:
            continue
        layer = int(match.group(1))
        stem = f"model.layers.{layer}.mlp.gate."
        expected = reference.get_tensor(key)
        inputs = own.get_tensor(f"layers.{layer}.router_input")[:len(expected)]
        worst = max(worst, float(np.abs(inputs - expected).max()))
        weight, bias = gate(folder, layer)
        mine = selection_scores(inputs.astype(np.float64) @ weight.T.astype(np.float64), scoring, bias)
        theirs = selection_scores(reference.get_tensor(stem + "logits"), scoring, bias)
        for token, experts in enumerate(reference.get_tensor(stem + "topk_indices")):
            # Within what the reference could choose from, the node-limited rule included.
            lowest = theirs[token, experts].min()
            rivals = np.setdiff1d(np.arange(theirs.shape[1]), experts)
            allowed = rivals[theirs[token, rivals] <= lowest]
            swapped = mine[token, allowed] > mine[token, experts].min()
            near = np.abs(theirs[token, allowed] - lowest) <= TIE
            ties += int((swapped & near).sum())
            different += int((swapped & ~near).sum())
            chosen += len(experts)
    ok = row(name, "router inputs, largest difference", "-", "-", worst, 2e-3)
    return row(name, f"experts of {chosen} choices ({ties} in ties)", 0, different, different, 0) and ok


def nll(regate, folder, name, scratch):
    passed = True
    for kind, figures in json.loads((folder / "reference.json").read_text())["sets"].items():
        expected = figures["mean_nll"]
        found = run(regate, "capture", folder, "--precision", "f32", "--calibration", folder / f"{kind}.npy", "-o",
                    scratch / "capture.safetensors", "--overwrite")["nll"]
        passed &= row(name, f"NLL, {kind}", f"{expected:.6f}", f"{found:.6f}", abs(found - expected), NLL_LIMIT)
    return passed


def logits(folders):
    """Logits of the first sequences, which no command prints: by the test ReferenceModelTests."""
    result = subprocess.run(
        ["swift", "test", "-c", "release", "--disable-testable-imports", "--filter",
         "ReferenceModelTests"],
        cwd=Path(__file__).parent.parent.parent, capture_output=True, text=True,
        env={**os.environ, "REGATE_REFERENCE_MODELS": ":".join(str(folder.resolve()) for folder in folders)})
    found = re.findall(r"(\S+): logits of (\d+) tokens, largest difference (\S+)", result.stdout)
    if len(found) != len(folders):
        sys.exit(f"swift test failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return all([row(Path(folder).name, f"logits of {tokens} tokens, largest difference", "-", "-", float(difference),
                    LOGIT_LIMIT) for folder, tokens, difference in sorted(found)])


def perplexity(regate, folder, name, scratch):
    path = folder / "llama.json"
    if not path.exists():
        return True
    settings = json.loads(path.read_text())
    count = int(re.search(r"first (\d+) bytes", settings["text"]).group(1))
    length = re.search(r"-c (\d+)", settings["arguments"]).group(1)
    text = scratch / "text.txt"
    text.write_bytes((folder / "text.txt").read_bytes()[:count])
    passed = True
    for kind, expected in settings["perplexity"].items():
        file = next((file for file in folder.glob("*.gguf") if file.stem.endswith("-" + kind)), None)
        if file is None:
            continue
        found = run(regate, "validate", file, file,
                    "--precision", "f32", "--calibration", text, "--length", length, "--ppl-protocol",
                    "llama")["perplexity"]["original"]
        passed &= row(name, f"perplexity, {kind}", f"{expected:.4f}", f"{found:.4f}", abs(found / expected - 1),
                      PERPLEXITY_LIMIT)
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--regate", type=Path, required=True)
    parser.add_argument("--logits", action="store_true", help="also compare logits, by the Swift tests")
    options = parser.parse_args()
    print("| model | figure | reference | Regate | error | limit | |\n|---|---|---|---|---|---|---|")
    passed = True
    with tempfile.TemporaryDirectory() as scratch:
        for folder in options.folders:
            if not (folder / "reference.json").exists():
                continue
            for check in (nll, routing, perplexity):
                passed &= check(options.regate, folder, folder.name, Path(scratch))
    if options.logits:
        passed &= logits([folder for folder in options.folders if (folder / "reference.safetensors").exists()])
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
