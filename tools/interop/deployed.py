#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs patched checkpoints in transformers and llama.cpp and holds them against `regate validate`.

    deployed.py MODEL --fit CALIBRATION --judge HELDOUT [--gguf FILE...] [--text FILE]
                [--forms stock,lpr] [--ep N] [--prune N] [--llama-bin DIR] [--regate TOOL]

MODEL is a folder of safetensors. CALIBRATION and HELDOUT are token ids (.npy [S,L]). Every FILE is a
GGUF of the same model; TEXT is what llama.cpp reads. One fit serves all of them; with --prune it is
one without N experts of each layer, whose only form is stock. Per output:

    nll          mean NLL of the patched model over all shifted positions, in nats
    load         largest total variation over layers between two counts of the experts' load
    perplexity   under llama-perplexity's own protocol
    agreement    share of token-slots in which safetensors and GGUF choose different experts
    busiest      with --ep, for which the fit is then made: the load of the busiest of N ranks over
                 the mean one, mean over layers

Prints a table and exits with 1 if a difference is above its limit.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import llama_log
import numpy as np
import torch
from gguf import GGUFReader
from safetensors import safe_open
from test_router_goldens import route
from transformers import AutoModelForCausalLM

CONTEXT = 128


def run(*words):
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{result.stderr[-2000:]}")
    return result


class Table:
    """Rows of one quantity each, with the limit that its difference must keep."""

    def __init__(self):
        self.rows = []

    def add(self, output, runtime, quantity, predicted, measured, difference, limit):
        self.rows.append((output, runtime, quantity, predicted, measured, difference, limit))
        print(f"{output}: {runtime} {quantity} {difference:.5f} of {limit}", file=sys.stderr)

    def show(self):
        print("| output | runtime | quantity | regate | runtime's | difference | limit | |")
        print("|---|---|---|---|---|---|---|---|")
        for *names, predicted, measured, difference, limit in self.rows:
            values = [f"{v:.4f}" if v is not None else "" for v in (predicted, measured)]
            verdict = "ok" if difference <= limit else "FAILED"
            print("| " + " | ".join([*names, *values, f"{difference:.5f}", f"{limit}", verdict]) + " |")
        return all(row[5] <= row[6] for row in self.rows)


def variation(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    return 0.5 * np.abs(a / a.sum() - b / b.sum()).sum()


def in_transformers(folder, ids):
    """Mean NLL, and the load [E] of every MoE layer, counted by hooks on the experts."""
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[kind]:
            sys.exit(f"{folder}: {kind}: {sorted(report[kind])[:5]}")
    loads = {}

    def count(layer):
        def hook(module, inputs):
            chosen = inputs[1].reshape(-1)
            loads[layer] += torch.bincount(chosen, minlength=len(loads[layer])).double()
        return hook

    for name, module in model.eval().named_modules():
        if re.fullmatch(r"model\.layers\.\d+\.(mlp|block_sparse_moe)\.experts", name):
            layer = int(name.split(".")[2])
            loads[layer] = torch.zeros(next(iter(module.parameters())).shape[0]).double()
            module.register_forward_pre_hook(count(layer))
    total = 0.0
    with torch.no_grad():
        for row in ids:
            total += model(input_ids=row[None], labels=row[None]).loss.item()
    return total / len(ids), {layer: load.numpy() for layer, load in loads.items()}


def gates(checkpoint):
    """{layer: {"gate": [E,H], "bias": [E]}} of a folder of safetensors or a GGUF file."""
    found = {}

    def keep(layer, kind, values):
        found.setdefault(int(layer), {})[kind] = values

    if checkpoint.is_file():
        for tensor in GGUFReader(checkpoint).tensors:
            if match := re.fullmatch(r"blk\.(\d+)\.(ffn_gate_inp\.weight|exp_probs_b\.bias)", tensor.name):
                keep(match[1], "gate" if "gate" in match[2] else "bias", np.array(tensor.data, np.float32))
        return found
    for file in checkpoint.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():
                if match := re.fullmatch(
                        r"model\.layers\.(\d+)\.\w+\.gate\.(weight|e_score_correction_bias)", name):
                    kind = "gate" if match[2] == "weight" else "bias"
                    keep(match[1], kind, tensors.get_tensor(name).float().numpy())
    return found


def rule(config, biased):
    """What decides the choice of experts; its weights are of no interest here."""
    groups = config.get("n_group") or 1
    return {
        "experts": config.get("n_routed_experts") or config.get("num_experts")
        or config["num_local_experts"],
        "top_k": config["num_experts_per_tok"], "normalise": False, "scale": 1.0,
        "scoring": "sigmoid" if biased else "softmax", "bias": "selection" if biased else "none",
        "groups": {"count": groups, "kept": config["topk_group"], "score": "top2", "mask": "zero"}
        if groups > 1 else None}


def choices(checkpoint, capture, config):
    """The experts [T,K] that every layer's router chooses on the inputs of a capture."""
    with safe_open(capture, "np") as inputs:
        return {
            layer: route(
                {"inputs": inputs.get_tensor(f"layers.{layer}.router_input"), **router},
                rule(config, "bias" in router))[0]
            for layer, router in gates(checkpoint).items()}


def disagreement(a, b):
    """Share of token-slots of the layers in `a` that are not in `b`."""
    same = total = 0
    for layer in a:
        same += (a[layer][:, :, None] == b[layer][:, None, :]).any(-1).sum()
        total += a[layer].size
    return 1 - same / total


def busiest(loads, ranks):
    """Mean over layers of the busiest rank's load over the mean rank's; E/N experts are a rank's."""
    by_rank = [np.asarray(load, float).reshape(ranks, -1).sum(1) for load in loads]
    return float(np.mean([load.max() / load.mean() for load in by_rank]))


class Bench:
    def __init__(self, options, work):
        self.ranks = options.ep
        self.regate, self.llama, self.work = options.regate, options.llama_bin, work
        self.original = options.model
        self.judge, self.text = options.judge, options.text
        self.table = Table()
        self.chosen = {}

    def choices(self, checkpoint):
        if checkpoint not in self.chosen:
            self.chosen[checkpoint] = self.captured(checkpoint)
        return self.chosen[checkpoint]

    def captured(self, checkpoint):
        capture = self.work / (checkpoint.name + ".capture.safetensors")
        run(self.regate, "capture", checkpoint, "--precision", "f32", "--calibration", self.judge, "--output", capture,
            "--float32", "-q")
        config = json.loads((self.work / "stock" / "config.json").read_text())
        return choices(checkpoint, capture, config)

    def validate(self, original, patched, calibration, *more):
        return json.loads(run(
            self.regate, "validate", original, patched,
            "--precision", "f32", "--calibration", calibration, "--json", "-q",
            *more).stdout)

    def safetensors(self, form, fit):
        output = self.work / form
        run(self.regate, "convert", self.original, "--fit", fit, "--router", form, "--output", output, "-q")
        predicted = self.validate(self.original, output, self.judge)
        ids = torch.tensor(np.load(self.judge).astype(np.int64))
        nll, loads = in_transformers(output, ids)
        expected = predicted["nll"]["patched"]
        self.table.add(form, "transformers", "nll", expected, nll, abs(nll - expected), 2e-3)
        self.compare_loads(form, "transformers", predicted["layers"], loads, 0.005)
        return output

    def compare_loads(self, output, runtime, layers, measured, limit):
        """Loads of validate's layers against those {layer: [E]} that a runtime counted."""
        pairs = [(layer["patched"]["load"], measured[layer["index"]]) for layer in layers]
        self.table.add(output, runtime, "load", None, None, max(variation(*pair) for pair in pairs),
                       limit)
        if self.ranks:
            predicted, counted = [busiest(side, self.ranks) for side in zip(*pairs)]
            self.table.add(output, runtime, f"busiest of {self.ranks}", predicted, counted,
                           abs(predicted - counted), 2 * limit)

    def llama_perplexity(self, model):
        for _ in range(3):
            log = run(self.llama / "llama-perplexity", "-m", model, "-f", self.text, "-c", CONTEXT,
                      "-t", 2)
            if (found := llama_log.perplexity(log.stdout + log.stderr)) is not None:
                return found
        sys.exit(f"{model}: llama-perplexity printed no final estimate")

    def gguf(self, source, fit):
        output = self.work / pathlib.Path(source).name
        run(self.regate, "convert", source, "--fit", fit, "--output", output, "-q")
        name = pathlib.Path(source).stem
        # A quantised model's activations are others; then the share is stated, but has no limit.
        limit = 0.01 if name.upper().endswith("F16") else 1
        self.table.add(
            name, "both containers", "agreement", None, None,
            disagreement(self.choices(self.work / "stock"), self.choices(output)), limit)
        if self.llama is None or self.text is None:
            return output
        predicted = self.validate(
            source, output, self.text, "--ppl-protocol", "llama", "--length", CONTEXT,
            "--max-tokens", 1 << 30)
        measured = self.llama_perplexity(output)
        expected = predicted["perplexity"]["patched"]
        self.table.add(
            name, "llama.cpp", "perplexity", expected, measured, abs(measured / expected - 1), 0.005)
        counts = self.work / (name + ".imatrix.gguf")
        run(self.llama / "llama-imatrix", "-m", output, "-f", self.text, "-o", counts, "-c", CONTEXT,
            "--no-ppl", "-t", 2)
        seen = json.loads(run(self.regate, "inspect", output, "--counts", counts, "--json").stdout)
        loads = {layer["index"]: layer["load"] for layer in seen["layers"]}
        self.compare_loads(name, "llama.cpp", predicted["layers"], loads, 0.02)
        return output


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--fit", required=True, dest="calibration")
    parser.add_argument("--judge", required=True)
    parser.add_argument("--gguf", nargs="*", default=[])
    parser.add_argument("--text")
    parser.add_argument("--forms", default="stock,lpr")
    parser.add_argument("--ep", type=int)
    parser.add_argument("--prune", type=int)
    parser.add_argument("--llama-bin", type=pathlib.Path)
    parser.add_argument("--regate", default=".build/release/regate")
    options = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(options, pathlib.Path(work))
        fit = bench.work / "routers.fit"
        run(bench.regate, "fit", bench.original, "--calibration", options.calibration,
            "--router", "stock", "--output", fit, "-q", *(["--ep", options.ep] if options.ep else []),
            *(["--prune", options.prune] if options.prune else []))
        for form in options.forms.split(","):
            bench.safetensors(form, fit)
        for source in options.gguf:
            bench.gguf(source, fit)
        sys.exit(0 if bench.table.show() else 1)


if __name__ == "__main__":
    main()
