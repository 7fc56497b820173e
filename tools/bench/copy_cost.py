#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a conversion costs beside a plain copy: `convert --fit` and `cp` of the same files, in turn.

    copy_cost.py MODEL FIT [--work DIR] [--runs 3] [--regate R] [-- CONVERT OPTIONS]

Both write to DIR, on the model's volume or another, and end when everything is on the disk (`cp` with
`sync`); before each, the page cache is dropped where that is allowed. A conversion also verifies and
hashes what it writes. Prints seconds of each and their ratio.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time


def drop_caches():
    os.sync()
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def seconds(command, output, then_sync):
    cold = drop_caches()
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    if then_sync:
        os.sync()
    elapsed = time.monotonic() - began
    shutil.rmtree(output) if output.is_dir() else output.unlink()
    return elapsed, cold


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("fit", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--regate", default=".build/release/regate")
    parser.add_argument("options", nargs="*")
    options = parser.parse_args()
    files = [options.model] if options.model.is_file() else [p for p in options.model.rglob("*") if p.is_file()]
    gigabytes = sum(path.stat().st_size for path in files) / 1e9
    output = options.work / ("copy" + options.model.suffix)
    ways = {
        "cp": (["cp", "-r", "--reflink=never", options.model, output], True),
        "regate": ([options.regate, "convert", options.model, "--fit", options.fit, "--output", output, "-q",
                    *options.options], False)}
    times = {way: [] for way in ways}
    cold = True
    for _ in range(options.runs):
        for way, (command, then_sync) in ways.items():
            elapsed, was_cold = seconds(command, output, then_sync)
            times[way].append(elapsed)
            cold = cold and was_cold
    print(f"{gigabytes:.1f} GB, {'cold' if cold else 'warm'} cache, {os.cpu_count()} processors")
    for way, values in times.items():
        print(f"{way}: " + ", ".join(f"{value:.1f}" for value in values) + " s")
    print(f"ratio of medians {statistics.median(times['regate']) / statistics.median(times['cp']):.2f}")


if __name__ == "__main__":
    sys.exit(main())
