# SPDX-License-Identifier: Apache-2.0
"""Runs originals and outputs of Regate inside vLLM and SGLang, against `regate validate`.

    python tools/interop/serving/run.py MODELS --work DIR --vllm VERSION=PYTHON ...
        [--sglang PYTHON] [--only ROW ...] [--sequences 32]

MODELS holds a folder per model, with model.safetensors and general-{calibration,heldout}.npy.
`tools/interop/serving.sh` makes the environments and calls this. Per run, one row:

    nll     mean NLL of the held-out ids; limit 1e-4 in Float32 against validate, 5e-4 in bfloat16
            against transformers in bfloat16
    load    largest total variation over layers of the experts chosen inside the runtime from those
            that validate counts; limit 0.5 %
    greedy  share of 8 x 32 tokens that differ from transformers'; limit 0

What was run is kept in DIR and not run again. Exits with 1 if a limit was missed or a run failed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
REGATE = os.environ.get("REGATE", str(HERE.parents[2] / ".build/release/regate"))
LIMITS = {"float32": 1e-4, "bfloat16": 5e-4}
LOAD_LIMIT = 0.005
GREEDY = 32

TP, EP = ["--tp", "2"], ["--tp", "2", "--ep"]
BF16, TEXT = ["--dtype", "bfloat16"], ["--greedy", str(GREEDY)]
BACKEND = ["--no-plugin", "--backend", "transformers", "--trust-remote-code"]
# Form, what the row is called, options of in_vllm.py.
VLLM_RUNS = [
    ("original", "own class", []),
    ("original", "own class, TP 2 + EP", EP),
    ("stock", "own class", TEXT),
    ("stock", "own class, TP 2", TP),
    ("stock", "own class, TP 2 + EP", EP),
    ("stock", "own class, bf16", BF16),
    ("lpr", "plugin", TEXT),
    ("lpr", "plugin, TP 2", TP),
    ("lpr", "plugin, TP 2 + EP", EP),
    ("lpr", "plugin, bf16", BF16),
    ("lpr", "plugin, compiled", ["--compile"]),
    ("lpr", "Transformers backend", BACKEND),
    ("lpr", "Transformers backend, TP 2 + EP", BACKEND + EP),
    ("lpr", "Transformers backend, bf16", BACKEND + BF16),
]
SGLANG_RUNS = [
    ("original", "own class", []),
    ("stock", "own class", []),
    ("lpr", "package", ["--plugin", "--trust-remote-code"]),
    ("lpr", "package, bf16", ["--plugin", "--trust-remote-code"] + BF16),
    ("lpr", "Transformers backend", ["--trust-remote-code"]),
    ("lpr", "Transformers backend, bf16", ["--trust-remote-code"] + BF16),
]


def call(words, log):
    with open(log, "w") as file:
        done = subprocess.run([str(word) for word in words], stdout=file, stderr=file)
    return done.returncode == 0


def prepared(source, folder, sequences):
    """The model alone, with an even number of heads, its outputs and the ids to judge on."""
    original = folder / "original"
    if not original.exists():
        original.mkdir(parents=True)
        for file in source.glob("*.json"):
            shutil.copy(file, original)
        # vLLM would read every other file of safetensors, too.
        shutil.copyfile(source / "model.safetensors", original / "model.safetensors")
        add_silent_head(original)
    np.save(folder / "ids.npy", np.load(source / "general-heldout.npy")[:sequences])
    for form in ("stock", "lpr"):
        if not (folder / form).exists():
            words = [REGATE, "convert", original, "--calibration",
                     source / "general-calibration.npy", "--router", form, "--output",
                     folder / form, "-q"]
            if not call(words, folder / f"convert-{form}.log"):
                sys.exit((folder / f"convert-{form}.log").read_text())
        judged = folder / f"validate-{form}-{sequences}.json"
        if not judged.exists():
            judged.write_text(subprocess.run(
                [REGATE, "validate", original, folder / form, "--calibration", folder / "ids.npy",
                 "--json", "-q"], check=True, capture_output=True, text=True).stdout)


def add_silent_head(folder):
    """Tensor parallelism by 2 wants an even number of heads: one more that adds nothing."""
    import torch
    from safetensors.torch import load_file, save_file

    path = folder / "config.json"
    config = json.loads(path.read_text())
    heads = config["num_attention_heads"]
    if heads % 2 == 0 or config["num_key_value_heads"] != 1:
        return
    size = config.get("head_dim") or config["hidden_size"] // heads
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("q_proj.weight"):
            tensors[name] = torch.cat([tensor, tensor.new_zeros(size, tensor.shape[1])])
        elif name.endswith("o_proj.weight"):
            tensors[name] = torch.cat([tensor, tensor.new_zeros(tensor.shape[0], size)], 1)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    path.write_text(json.dumps(config | {"num_attention_heads": heads + 1, "head_dim": size}))


class Report:
    def __init__(self, work, only, sequences):
        self.work, self.only, self.sequences, self.failed = work, only, sequences, False
        print("| model | form | runtime | NLL | reference | load | greedy | |")
        print("|---|---|---|---|---|---|---|---|", flush=True)

    def result(self, name, script, python, model, form, options):
        """What a script in this folder says of an output, from a run now or before; or None."""
        file = self.work / model / f"{name}-{form}-{self.sequences}.json".replace(" ", "_")
        words = [python, HERE / script, self.work / model / form, self.work / model / "ids.npy",
                 file, *options]
        if file.exists() or call(words, file.with_suffix(".log")):
            return json.loads(file.read_text())
        return None

    def run(self, model, form, runtime, script, python, options):
        """One row; `runtime` names runtime, version and way."""
        if self.only and f"{model} {form} {runtime}" not in self.only:
            return
        row = self.result(runtime, script, python, model, form, options)
        if row is None:
            self.failed = True
            print(f"| {model} | {form} | {runtime} | | | | | did not run |", flush=True)
            return
        bf16, misses = "bfloat16" in options, []
        pair = "lpr" if form == "original" else form
        judged = self.work / model / f"validate-{pair}-{self.sequences}.json"
        judged = json.loads(judged.read_text())
        side = "original" if form == "original" else "patched"
        reference, dtype = judged["nll"][side], "float32"
        theirs = ["--trust-remote-code"] if form == "lpr" else []
        if bf16:
            # (Against transformers of the same environment.)
            dtype = "bfloat16"
            reference = self.result(
                f"{runtime.split(',')[0]} transformers bf16", "in_transformers.py", python, model,
                form, theirs + BF16)["nll"]
        if abs(row["nll"] - reference) > LIMITS[dtype]:
            misses.append("NLL")
        load = greedy = None
        if row.get("counts"):
            loads = [layer[side]["load"] for layer in judged["layers"]]
            load = max(sum(abs(a - b) for a, b in zip(*pair, strict=True)) / 2 / sum(pair[0])
                       for pair in zip(loads, row["counts"], strict=True))
            if load > LOAD_LIMIT and not bf16:
                misses.append("load")
        if row.get("greedy"):
            made = self.result(f"{runtime} transformers text", "in_transformers.py", python, model,
                               form, theirs + TEXT)["greedy"]
            greedy = float(np.mean(np.array(made) != np.array(row["greedy"])))
            if greedy > 0:
                misses.append("greedy")
        self.failed |= bool(misses)
        shown = ["" if value is None else f"{value:.5f}" for value in (load, greedy)]
        print(f"| {model} | {form} | {runtime} | {row['nll']:.6f} | {reference:.6f} | {shown[0]} | "
              f"{shown[1]} | {'MISSED: ' + ', '.join(misses) if misses else 'ok'} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--vllm", nargs="*", default=[], metavar="VERSION=PYTHON")
    parser.add_argument("--sglang", metavar="PYTHON")
    parser.add_argument("--only", nargs="*", default=[], metavar="'MODEL FORM RUNTIME'",
                        help="these rows, each by its first three columns, one space between")
    parser.add_argument("--sequences", type=int, default=32)
    options = parser.parse_args()
    sources = [p for p in sorted(options.models.iterdir()) if (p / "model.safetensors").exists()]
    for source in sources:
        prepared(source, options.work / source.name, options.sequences)
    report = Report(options.work, options.only, options.sequences)
    for source in sources:
        for environment in options.vllm:
            version, python = environment.split("=")
            for form, way, words in VLLM_RUNS:
                report.run(source.name, form, f"vLLM {version}, {way}", "in_vllm.py", python, words)
        if options.sglang:
            for form, way, words in SGLANG_RUNS:
                report.run(
                    source.name, form, f"SGLang, {way}", "in_sglang.py", options.sglang, words)
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
