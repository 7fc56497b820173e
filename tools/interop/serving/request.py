# SPDX-License-Identifier: Apache-2.0
"""What a script of this folder is asked to run, and where its answer goes.

    python tools/interop/serving/in_RUNTIME.py MODEL IDS.npy OUT.json [--dtype bfloat16] ...

OUT.json gets an object of `nll`, the `losses` of which it is the mean, and with --greedy of the
tokens added to 8 prompts, `greedy`.
Without arguments a script takes them line by line from its input; see `serve`.
"""

import argparse
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np

PROMPTS, PROMPT = 8, 16  # The first ids of the first sequences.
LIMIT = 1200  # Seconds; a server that waits for a worker that died does so for ever.


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


def answer(options, losses, **result):
    """`losses` are those of all predicted ids, in order."""
    result = {"nll": float(np.mean(losses)), "losses": [float(loss) for loss in losses], **result}
    options.output.write_text(json.dumps(result))


def run(main, prepare=lambda: None):
    """Runs `main` of a script, once, or as a server, which first has everything imported by
    `prepare`."""
    if len(sys.argv) > 1:
        return main()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # What a runtime says is no answer.
        prepare()
        for line in sys.stdin:
            print(serve(main, json.loads(line)), file=answers, flush=True)


def serve(main, words):
    """Runs `main` with some words in a process of its own, forked, so that importing a runtime,
    most of the time that a small model takes, is paid once. Returns its exit status; what it prints
    goes to the file beside the answer."""
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        log = os.open(Path(words[2]).with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv[1:] = words
        try:
            main()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def kill(*_):
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            pass

    signal.signal(signal.SIGALRM, kill)
    signal.alarm(LIMIT)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.alarm(0)
    kill()  # Workers that are left.
    return status
