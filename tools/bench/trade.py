#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What balance costs: converts models with default options and judges them on held-out tokens.

    trade.py MODELS [--models NAME,...] [--sets general,python] [--forms lpr,stock] [--seeds 0,1,2]
             [--transformers PYTHON]

MODELS is a folder of folders, each with a checkpoint and {SET}-{calibration,heldout}.npy. Every row
is one model, set and form: fitted to SET-calibration only, judged on SET-heldout only, in a full
pass of both models; mean over the seeds, and the worst of them in brackets. With an interpreter that
has transformers, the loss is measured again there, from the written checkpoint. Prints Markdown.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile


def regate(tool, *words):
    result = subprocess.run([tool, *map(str, words), "--json", "-q"], capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout)


def loss_in_transformers(python, model, patched, ids):
    """Increase of the mean NLL on `ids`, both models run by transformers."""
    script = pathlib.Path(__file__).parent.parent / "interop" / "prototype_nll.py"
    lines = subprocess.run([python, script, model, ids, patched], capture_output=True, text=True,
                           check=True).stdout.split()
    return float(lines[-1].strip("()"))


def measure(options, model, name, form, seed):
    """Figures of one conversion on its held-out tokens."""
    tool, heldout = options.regate, model / f"{name}-heldout.npy"
    with tempfile.TemporaryDirectory() as work:
        output = pathlib.Path(work) / "patched"
        fit = regate(
            tool, "convert", model, "--calibration", model / f"{name}-calibration.npy",
            "--router", form, "--seed", seed, "--output", output)
        report = regate(tool, "validate", model, output, "--calibration", heldout)
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
    options = parser.parse_args()
    names = options.names.split(",") if options.names else sorted(
        folder.parent.name for folder in options.models.glob("*/config.json"))
    print("| model | set | form | Gini before | Gini | min/max | loss, nats | in transformers "
          "| output error | sampling floor | latent size | seconds |")
    print("|" + "---|" * 12, flush=True)
    for name in names:
        for data in options.sets.split(","):
            for form in options.forms.split(","):
                runs = [measure(options, options.models / name, data, form, int(seed))
                        for seed in options.seeds.split(",")]
                print("| " + " | ".join([name, data, form, *row(runs)]) + " |", flush=True)


if __name__ == "__main__":
    main()
