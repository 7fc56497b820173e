# SPDX-License-Identifier: Apache-2.0
"""What a script of this folder is asked to run, and where its answer goes.

    python tools/interop/serving/in_RUNTIME.py MODEL IDS.npy OUT.json [--dtype bfloat16] ...

OUT.json gets an object of `nll`, and with --greedy of the tokens added to 8 prompts, `greedy`.
"""

import argparse
import json
from pathlib import Path

import numpy as np

PROMPTS, PROMPT = 8, 16  # The first ids of the first sequences.


def parser():
    """The options of every runtime."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("ids", type=np.load, help=".npy of token ids, a row per sequence")
    parser.add_argument("output", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--trust-remote-code", action="store_true")
    parser.add_argument("--greedy", type=int, default=0, help="tokens to add to 8 prompts")
    return parser


def served():
    """The options of servers."""
    served = parser()
    served.add_argument("--plugin", action="store_true", help="use tools/python")
    served.add_argument("--backend", default="auto", help="whose classes of the model")
    served.add_argument("--tp", type=int, default=1)
    served.add_argument("--ep", action="store_true")
    return served


def prompts(options):
    return options.ids[:PROMPTS, :PROMPT]


def answer(options, **result):
    options.output.write_text(json.dumps(result))
