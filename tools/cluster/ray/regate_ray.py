# SPDX-License-Identifier: Apache-2.0
"""Runs a fit on many machines on a Ray cluster.

    ray job submit --working-dir tools/cluster -- python ray/regate_ray.py SETTINGS [--cpus N]

A step that is killed, or whose node is lost, is run again, on another node where there is one. Start
again after a failure: what is done is not done again.
"""

import argparse
import ctypes
import os
import pathlib
import signal
import subprocess
import sys

import ray

STEP = pathlib.Path(__file__).resolve().parent.parent / "step.sh"
RETRIES = 3


class Killed(Exception):
    """The program did not end by itself: it may well do so when it is run again."""


def die_with_parent():
    """A worker that Ray gives up takes its program with it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


@ray.remote(max_retries=RETRIES, retry_exceptions=[Killed], scheduling_strategy="SPREAD")
def run(script, settings, step, number, *after):
    """Runs one step, once the steps `after` are done; gives its name."""
    name = step if number is None else f"{step} {number}"
    arguments = ["bash", "-c", script, "step.sh", settings, step]
    if number is not None:
        arguments.append(str(number))
    result = subprocess.run(
        arguments, preexec_fn=die_with_parent, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    print(result.stderr, end="", file=sys.stderr, flush=True)
    if result.returncode < 0 or result.returncode > 128:
        raise Killed(f"{name} was killed")
    if result.returncode:
        raise RuntimeError(f"{name} failed: {result.stderr.strip()}")
    return f"{name} on {ray.util.get_node_ip_address()}, worker {os.getpid()}"


def counts(settings):
    """The numbers of parts and of ranges."""
    text = subprocess.run(
        ["bash", "-c", 'set -eu; . "$1"; echo "$PARTS $RANGES"', "settings", settings],
        check=True, capture_output=True, text=True,
    ).stdout
    return [int(word) for word in text.split()]


def main():
    parser = argparse.ArgumentParser(description="Runs a fit on many machines on a Ray cluster.")
    parser.add_argument("settings", help="a copy of settings.sh in the shared folder")
    parser.add_argument("--cpus", type=float, default=1, help="cores of each step (default: 1)")
    arguments = parser.parse_args()
    settings = os.path.abspath(arguments.settings)
    parts, ranges = counts(settings)
    ray.init()
    # The text of the step goes to the workers: they need no copy of this folder.
    script = STEP.read_text()
    step = run.options(num_cpus=arguments.cpus)
    captures = [step.remote(script, settings, "capture", i + 1) for i in range(parts)]
    fits = [step.remote(script, settings, "fit", i + 1, *captures) for i in range(ranges)]
    merge = step.remote(script, settings, "merge", None, *fits)
    convert = step.remote(script, settings, "convert", None, merge)
    waiting = [*captures, *fits, merge, convert]
    while waiting:
        done, waiting = ray.wait(waiting)
        print(ray.get(done[0]), flush=True)


if __name__ == "__main__":
    main()
