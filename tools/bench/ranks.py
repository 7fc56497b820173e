#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What even ranks and even experts cost: one table for every model, form and rank count.

    ranks.py MODELS --work DIR [--models NAME,...] [--set general] [--ranks 2,4,8,16] [--seeds 0,1,2]
             [--transformers PYTHON] [--jobs 1]

MODELS is a folder of folders, each with a checkpoint and {SET}-{calibration,heldout}.npy. Rows:

    as it is     nothing changed
    K-means      every expert's gate row is the mean of the tokens that it serves, compared by
                 cosine: a router without parameters, the cheapest one (with --transformers)
    renumbered   `place`
    ranks        `convert --ep R`
    experts      `convert`

fitted to SET-calibration, judged on SET-heldout: the busiest rank over the mean, Gini, min/max, and
the change of the NLL in nats, which an interpreter with transformers measures again from the
written checkpoint. Means over layers and seeds, the worst seed in brackets; the prototype form draws
no random numbers and runs once. Every measurement is kept in DIR as it is made, and a run that was
stopped continues there: remove DIR after a change of the tool. Prints Markdown. With several jobs
the processors are shared among that many measurements at a time.
"""

import argparse
import json
import multiprocessing.pool
import pathlib
import statistics
import subprocess
import sys
import tempfile

from trade import loss_in_transformers, regate


def experts(config):
    values = json.loads(config.read_text())
    return next(values[key] for key in ("num_local_experts", "n_routed_experts", "num_experts")
                if key in values)


def judge(options, model, patched, ranks):
    """Figures of a checkpoint on held-out tokens; `patched` may be the original itself."""
    heldout = model / f"{options.set}-heldout.npy"
    report = regate(options, "validate", model, patched, "--precision", "f32", "--calibration", heldout,
                    "--ep", ",".join(map(str, ranks)))
    layers = [layer["patched"] for layer in report["layers"]]
    again = None
    if options.transformers and patched != model:
        again = loss_in_transformers(options.transformers, model, patched, heldout)
    return {
        "gini": report["mean"]["patched"]["gini"], "min/max": report["mean"]["patched"]["min_max"],
        "busiest": {str(rank): statistics.mean(
            layer["rank_max_over_mean"][str(rank)] for layer in layers) for rank in ranks},
        "loss": report["nll"]["patched"] - report["nll"]["original"], "again": again}


def measure(options, model, ranks, kind, form, rank, seed):
    """One measurement, from the folder of those that were made."""
    name = "-".join(map(str, filter(None, [model.name, options.set, kind, form, rank, f"s{seed}"])))
    path = options.work / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    calibration = model / f"{options.set}-calibration.npy"
    if kind == "K-means":
        script = pathlib.Path(__file__).parent / "kmeans_router.py"
        figures = json.loads(subprocess.run(
            [options.transformers, script, model, calibration,
             model / f"{options.set}-heldout.npy", "--ranks", ",".join(map(str, ranks))],
            check=True, capture_output=True, text=True).stdout)
    elif kind == "as it is":
        figures = judge(options, model, model, ranks)
    else:
        with tempfile.TemporaryDirectory(dir=options.work) as work:
            output = pathlib.Path(work) / "patched"
            command = ["place"] if kind == "renumbered" else ["convert", "--router", form]
            regate(options, *command, model, "--calibration", calibration, "--seed", seed,
                   "--output", output, *(["--ep", rank] if rank else []))
            figures = judge(options, model, output, [rank] if rank else ranks)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(figures))
    part.rename(path)
    return figures


def cell(values, worst, form):
    if None in values:
        return ""
    text = format(statistics.mean(values), form)
    return text if len(set(values)) == 1 else f"{text} ({format(worst(values), form)})"


def plan(options, model):
    """(kind, form, ranks, seeds) of every row of a model."""
    count = experts(model / "config.json")
    ranks = [rank for rank in options.ranks if count % rank == 0 and rank < count]
    rows = [("as it is", "", 0)]
    if options.transformers:
        rows.append(("K-means", "", 0))
    rows += [("renumbered", "", rank) for rank in ranks]
    for form in options.forms:
        rows += [("ranks", form, rank) for rank in ranks] + [("experts", form, 0)]
    return ranks, [(*row, options.seeds if row[1] == "stock" else options.seeds[:1]) for row in rows]


def rows(options, pool, model):
    ranks, planned = plan(options, model)
    results = pool.imap(lambda job: measure(options, model, ranks, *job), [
        (kind, form, rank, seed) for kind, form, rank, seeds in planned for seed in seeds])
    for kind, form, rank, seeds in planned:
        runs = [next(results) for _ in seeds]
        busiest = [cell([run["busiest"].get(str(each)) for run in runs], max, ".3f")
                   for each in options.ranks]
        yield [model.name, kind + (f", {rank}" if rank else ""), form, *busiest,
               *[cell([run[key] for run in runs], worst, style) for key, worst, style in (
                   ("gini", max, ".3f"), ("min/max", min, ".2f"), ("loss", max, "+.4f"),
                   ("again", max, "+.4f"))]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--models", dest="names")
    parser.add_argument("--set", default="general")
    parser.add_argument("--forms", default="lpr,stock")
    parser.add_argument("--ranks", default="2,4,8,16")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--regate", default=".build/release/regate")
    parser.add_argument("--transformers", metavar="PYTHON")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    options.ranks = [int(rank) for rank in options.ranks.split(",")]
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.forms = options.forms.split(",")
    options.work.mkdir(parents=True, exist_ok=True)
    names = options.names.split(",") if options.names else sorted(
        folder.parent.name for folder in options.models.glob("*/config.json"))
    header = ["model", "what", "form", *[f"{rank} ranks" for rank in options.ranks], "Gini",
              "min/max", "loss, nats", "in transformers"]
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header), flush=True)
    with multiprocessing.pool.ThreadPool(options.jobs) as pool:
        for name in names:
            for row in rows(options, pool, options.models / name):
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
