# SPDX-License-Identifier: Apache-2.0
"""Runs originals and outputs of Regate inside vLLM and SGLang, against `regate validate`.

    python tools/interop/serving/run.py MODELS --work DIR --vllm VERSION=PYTHON ...
        [--sglang PYTHON] [--only ROW ...] [--sequences 32] [--jobs 1]

MODELS holds a folder per model, with model.safetensors and general-{calibration,heldout}.npy.
`tools/interop/serving.sh` makes the environments and calls this. Per run, one row:

    nll     mean NLL of the held-out ids; limit 1e-4 in Float32 against validate; in bfloat16
            against transformers in bfloat16, 5e-4 or twice the standard error of the mean
            difference of ids, where that is more: rounding moves ids to other experts
    load    largest total variation over layers of the experts chosen inside the runtime from those
            that validate counts; limit 0.5 %
    greedy  share of 8 x 32 tokens that differ from transformers'; limit 0

What was run is kept in DIR and not run again. Exits with 1 if an output missed a limit or did not
run where its original does; a row of an original that does is called a fault of the runtime.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
REGATE = os.environ.get("REGATE", str(HERE.parents[2] / ".build/release/regate"))
LIMITS = {"float32": 1e-4, "bfloat16": 5e-4}
LOAD_LIMIT = 0.005
GREEDY = 32

TP, EP = ["--tp", "2"], ["--tp", "2", "--ep"]
BF16, TEXT = ["--dtype", "bfloat16"], ["--greedy", str(GREEDY)]
PLUGIN, REMOTE = ["--plugin"], ["--trust-remote-code"]
BACKEND, COMPILED = ["--backend", "transformers"], ["--compile"]
# Form, what the row is called, options of the script. A way of an output's that has a row for
# originals too may fail as those do.
VLLM_RUNS = [
    ("original", "own class", TEXT),
    ("original", "own class, TP 2", TP),
    ("original", "own class, TP 2 + EP", EP),
    ("original", "own class, bf16", BF16),
    ("original", "own class, compiled", COMPILED),
    ("original", "Transformers backend", BACKEND),
    ("original", "Transformers backend, TP 2", BACKEND + TP),
    ("original", "Transformers backend, TP 2 + EP", BACKEND + EP),
    ("original", "Transformers backend, bf16", BACKEND + BF16),
    ("original", "Transformers backend, compiled", BACKEND + COMPILED),
    ("stock", "own class", TEXT),
    ("stock", "own class, TP 2", TP),
    ("stock", "own class, TP 2 + EP", EP),
    ("stock", "own class, bf16", BF16),
    ("stock", "own class, compiled", COMPILED),
    ("stock", "Transformers backend, compiled", BACKEND + COMPILED),
    ("lpr", "plugin", PLUGIN + TEXT),
    ("lpr", "plugin, TP 2", PLUGIN + TP),
    ("lpr", "plugin, TP 2 + EP", PLUGIN + EP),
    ("lpr", "plugin, bf16", PLUGIN + BF16),
    ("lpr", "plugin, bf16, TP 2 + EP", PLUGIN + BF16 + EP),
    ("lpr", "plugin, compiled", PLUGIN + COMPILED),
    ("lpr", "Transformers backend", BACKEND + REMOTE + TEXT),
    ("lpr", "Transformers backend, TP 2", BACKEND + REMOTE + TP),
    ("lpr", "Transformers backend, TP 2 + EP", BACKEND + REMOTE + EP),
    ("lpr", "Transformers backend, bf16", BACKEND + REMOTE + BF16),
    ("lpr", "Transformers backend, compiled", BACKEND + REMOTE + COMPILED),
]
SGLANG_RUNS = [
    ("original", "own class", TEXT),
    ("original", "own class, TP 2", TP),
    ("original", "own class, bf16", BF16),
    ("stock", "own class", TEXT),
    ("stock", "own class, TP 2", TP),
    ("stock", "own class, bf16", BF16),
    ("lpr", "package", PLUGIN + REMOTE + TEXT),
    ("lpr", "package, TP 2", PLUGIN + REMOTE + TP),
    ("lpr", "package, bf16", PLUGIN + REMOTE + BF16),
    ("original", "Transformers backend", BACKEND),
    ("original", "Transformers backend, bf16", BACKEND + BF16),
    ("lpr", "Transformers backend", BACKEND + REMOTE),
    ("lpr", "Transformers backend, bf16", BACKEND + REMOTE + BF16),
]


def call(words, log):
    with open(log, "w") as file:
        done = subprocess.run([str(word) for word in words], stdout=file, stderr=file)
    return done.returncode == 0


class Server:
    """A script of this folder that waits for requests; see request.py."""

    def __init__(self, script, python):
        self.process = subprocess.Popen(
            [python, HERE / script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, words):
        """Whether the script did what its arguments say."""
        self.process.stdin.write(json.dumps([str(word) for word in words]) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "0\n"


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
                [REGATE, "validate", original, folder / form, "--precision", "f32", "--calibration", folder / "ids.npy",
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
        self.faults = set()  # Model and runtime of originals that missed a limit.
        self.servers = threading.local()  # By script and Python, as attributes of each job.
        print("| model | form | runtime | NLL | reference | load | greedy | |")
        print("|---|---|---|---|---|---|---|---|", flush=True)

    def result(self, name, script, python, model, form, options):
        """What a script in this folder says of an output, from a run now or before; or None."""
        file = self.work / model / f"{name}-{form}-{self.sequences}.json".replace(" ", "_")
        words = [self.work / model / form, self.work / model / "ids.npy", file, *options]
        if file.exists() or self.server(script, python).call(words):
            return json.loads(file.read_text())
        return None

    def server(self, script, python):
        own = vars(self.servers)
        if (script, python) not in own:
            own[script, python] = Server(script, python)
        return own[script, python]

    def transformers(self, runtime, python, model, form, options):
        """The same inside transformers, of the version in that runtime's environment."""
        remote = REMOTE if form == "lpr" else []
        name = f"{runtime.split(',')[0]} transformers {options[-1]}"
        return self.result(name, "in_transformers.py", python, model, form, remote + options)

    def run(self, model, form, runtime, script, python, options):
        """One row; `runtime` names runtime, version and way."""
        if self.only and f"{model} {form} {runtime}" not in self.only:
            return
        row = self.result(runtime, script, python, model, form, options)
        shown, misses = [""] * 4, ["did not run"]
        if row is not None:
            shown, misses = self.judged(row, model, form, runtime, python, options)
        word = ", ".join(misses) or "ok"
        original = model, runtime.replace("plugin", "own class").replace("package", "own class")
        if misses and form == "original":
            self.faults.add(original)
            word = "FAULT: " + word
        elif misses and original in self.faults:
            word += ", as the original"
        elif misses:
            self.failed, word = True, "MISSED: " + word
        print("| " + " | ".join([model, form, runtime, *shown, word]) + " |", flush=True)

    def judged(self, row, model, form, runtime, python, options):
        """The four figures of a row, and which of them miss their limit."""
        bf16, misses = "bfloat16" in options, []
        side = "original" if form == "original" else "patched"
        file = f"validate-{'lpr' if form == 'original' else form}-{self.sequences}.json"
        validated = json.loads((self.work / model / file).read_text())
        reference, load, greedy = validated["nll"][side], None, None
        error, limit = None, LIMITS["bfloat16" if bf16 else "float32"]
        if bf16:
            stock = self.transformers(runtime, python, model, form, BF16)
            reference = stock["nll"]
            error = np.std(np.subtract(row["losses"], stock["losses"])) / len(row["losses"])**0.5
            limit = max(limit, 2 * error)
        # (A mean that is not a number misses, too.)
        if not abs(row["nll"] - reference) <= limit:
            misses.append("NLL")
        if row.get("counts"):
            loads = [layer[side]["load"] for layer in validated["layers"]]
            load = max(sum(abs(a - b) for a, b in zip(*pair, strict=True)) / 2 / sum(pair[0])
                       for pair in zip(loads, row["counts"], strict=True))
            if load > LOAD_LIMIT and not bf16:
                misses.append("load")
        if row.get("greedy"):
            made = self.transformers(runtime, python, model, form, TEXT)["greedy"]
            greedy = float(np.mean(np.array(made) != np.array(row["greedy"])))
            if greedy > 0:
                misses.append("greedy")
        figures = [f"{value:.6f}" for value in (row["nll"], reference)]
        if error is not None:
            figures[1] += f" ± {error:.5f}"
        return figures + ["" if v is None else f"{v:.5f}" for v in (load, greedy)], misses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--vllm", nargs="*", default=[], metavar="VERSION=PYTHON")
    parser.add_argument("--sglang", metavar="PYTHON")
    parser.add_argument("--only", nargs="*", default=[], metavar="'MODEL FORM RUNTIME'",
                        help="these rows, each by its first three columns, one space between")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--jobs", type=int, default=1, help="models and runtimes at a time")
    options = parser.parse_args()
    sources = [p for p in sorted(options.models.iterdir()) if (p / "model.safetensors").exists()]
    for source in sources:
        prepared(source, options.work / source.name, options.sequences)
    report = Report(options.work, options.only, options.sequences)

    runtimes = [(f"vLLM {version}", "in_vllm.py", python, VLLM_RUNS)
                for version, python in (words.split("=") for words in options.vllm)]
    if options.sglang:
        runtimes.append(("SGLang", "in_sglang.py", options.sglang, SGLANG_RUNS))

    def run(job):
        (name, script, python, rows), model = job
        for form, way, words in rows:
            report.run(model, form, f"{name}, {way}", script, python, words)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(run, [(runtime, s.name) for runtime in runtimes for s in sources]))
    sys.exit(report.failed)


if __name__ == "__main__":
    main()
