#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a pass over a model takes from a cold page cache, beside reading alone and computing alone.

    cold_pass.py MODEL IDS [--runs 2] [--regate R [R ..]] [-- CAPTURE OPTIONS]

MODEL must fit the page cache. IDS are token ids (.npy): so many that computing takes about as long as
reading shows most. In turn: the model's files are read with a cold cache, `regate capture` runs with a
warm one, and with a cold one. A pass that reads the next layers while it computes takes the larger of
the first two; the ratio to that is printed. Needs leave to drop the page cache.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time


def drop_caches():
    subprocess.run(["sync"], check=True)
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def timed(work):
    began = time.monotonic()
    work()
    return time.monotonic() - began


def read(files):
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.read(8 << 20):
                pass


def capture(program, options):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [program, "capture", options.model, "--calibration", options.ids, "--output",
             f"{folder}/capture.safetensors", "-q", *options.rest],
            check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("ids")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--regate", nargs="+", default=[".build/release/regate"])
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args()
    files = sorted(options.model.iterdir()) if options.model.is_dir() else [options.model]
    size = sum(path.stat().st_size for path in files)
    reading, warm, cold = [], {}, {}
    for _ in range(options.runs):
        drop_caches()
        reading.append(timed(lambda: read(files)))
        for program in options.regate:
            read(files)
            warm.setdefault(program, []).append(timed(lambda: capture(program, options)))
            drop_caches()
            cold.setdefault(program, []).append(timed(lambda: capture(program, options)))
    alone = statistics.median(reading)
    print(f"{size / 1e9:.1f} GB; reading alone {alone:.1f} s")
    for program in options.regate:
        computing, both = statistics.median(warm[program]), statistics.median(cold[program])
        print(f"{program}: computing alone {computing:.1f} s, from a cold cache {both:.1f} s:"
              f" {both / max(alone, computing):.2f} times the larger")


main()
