#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What balance costs: converts models with default options and judges them on held-out tokens.

    trade.py MODELS [--models NAME,...] [--sets general,python] [--forms lpr,stock] [--seeds 0,1,2]
             [--transformers PYTHON] [--jobs 1]

MODELS is a folder of folders, each with a checkpoint and {SET}-{calibration,heldout}.npy. Every row
is one model, set and form: fitted to SET-calibration only, judged on SET-heldout only, in a full
pass of both models; mean over the seeds, and the worst of them in brackets. With an interpreter that
has transformers, the loss is measured again there, from the written checkpoint. Prints Markdown.
With several jobs the processors are shared among that many conversions at a time (the seconds are
then those of a share).
"""

import argparse
import functools
import json
import multiprocessing.pool
import os
import pathlib
import subprocess
import sys
import tempfile


def regate(options, *words):
    share = ["--threads", str(max(1, os.cpu_count() // options.jobs))] if options.jobs > 1 else []
    result = subprocess.run(
        [options.regate, *map(str, words), *share, "--json", "-q"], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr)
    return json.loads(result.stdout)


@functools.cache
def nll_in_transformers(python, folder, ids):
    """Mean NLL on `ids`, run by transformers."""
    script = pathlib.Path(__file__).parent.parent / "interop" / "prototype_nll.py"
    return float(subprocess.run(
        [python, script, folder, ids], capture_output=True, text=True, check=True).stdout.split()[-1])


def loss_in_transformers(python, model, patched, ids):
    """Increase of the mean NLL on `ids`."""
    loss = nll_in_transformers.__wrapped__(python, patched, ids)
    return loss - nll_in_transformers(python, model, ids)


def measure(options, model, name, form, seed):
    """Figures of one conversion on its held-out tokens."""
    heldout = model / f"{name}-heldout.npy"
    with tempfile.TemporaryDirectory() as work:
        output = pathlib.Path(work) / "patched"
        fit = regate(
            options, "convert", model, "--calibration", model / f"{name}-calibration.npy",
            "--router", form, "--seed", seed, "--output", output)
        report = regate(options, "validate", model, output, "--precision", "f32", "--calibration", heldout)
        again = options.transformers and loss_in_transformers(
            options.transformers, model, output, heldout)
    mean = report["mean"]
    return {
        "before": mean["original"]["gini"], "gini": mean["patched"]["gini"],
        "min/max": mean["patched"]["min_max"],
        "loss": report["nll"]["patched"] - report["nll"]["original"], "again": again,
        "output error": mean["output_error"], "floor": report["sampling_floor"],
        "latent": [layer["latent_size"] for layer in fit["layers"]], "seconds": fit["seconds"]}


def row(runs):
    def cell(key, worst, form):
        values = [run[key] for run in runs]
        if None in values:
            return ""
        text = format(sum(values) / len(values), form)
        return text if len(values) == 1 else f"{text} ({format(worst(values), form)})"
    sizes = [size for run in runs for size in run["latent"]]
    return [
        format(runs[0]["before"], ".3f"), cell("gini", max, ".3f"), cell("min/max", min, ".2f"),
        cell("loss", max, "+.4f"), cell("again", max, "+.4f"), cell("output error", max, ".3f"), f"{runs[0]['floor']:.3f}",
        f"{min(sizes)} to {max(sizes)}", cell("seconds", max, ".0f")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("--models", dest="names")
    parser.add_argument("--sets", default="general,python")
    parser.add_argument("--forms", default="lpr,stock")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--regate", default=".build/release/regate")
    parser.add_argument("--transformers", metavar="PYTHON")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    names = options.names.split(",") if options.names else sorted(
        folder.parent.name for folder in options.models.glob("*/config.json"))
    print("| model | set | form | Gini before | Gini | min/max | loss, nats | in transformers "
          "| output error | sampling floor | latent size | seconds |")
    print("|" + "---|" * 12, flush=True)
    seeds = options.seeds.split(",")
    plan = [(name, data, form) for name in names for data in options.sets.split(",")
            for form in options.forms.split(",")]
    with multiprocessing.pool.ThreadPool(options.jobs) as pool:
        runs = pool.imap(lambda job: measure(options, options.models / job[0], *job[1:]), [
            (*each, int(seed)) for each in plan for seed in seeds])
        for each in plan:
            print("| " + " | ".join([*each, *row([next(runs) for _ in seeds])]) + " |", flush=True)


if __name__ == "__main__":
    main()
