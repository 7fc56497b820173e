# SPDX-License-Identifier: Apache-2.0
"""Regate from Python: every command is a function, which runs the program and gives its report.

    import regate

    load = regate.inspect("Qwen3-30B-A3B", calibration="traffic.jsonl", ep=8, html=True)
    load["layers"][0]["gini"]
    load.page  # shown by a notebook

    regate.convert("Qwen3-30B-A3B", calibration="traffic.jsonl", output="balanced",
                   progress=lambda p: print(f"{p.label}: {p.share:.0%}"))

What the tool refuses is an `Error` with its sentence. A threshold of `validate` and a runtime of
`check` that is not met is a `NotMet`, which has the report. Warnings are Python's (`Warned`). An
interrupt ends the program; `resume=True` goes on where it stood, if there is an output.
"""

from ._commands import (
    advise,
    apply,
    capture,
    check,
    convert,
    fit,
    inspect,
    place,
    revert,
    sweep,
    validate,
)
from ._program import Error, NotMet, Progress, Warned, program
from ._report import Page, Report

__all__ = [
    "Error",
    "NotMet",
    "Page",
    "Progress",
    "Report",
    "Warned",
    "advise",
    "apply",
    "capture",
    "check",
    "convert",
    "fit",
    "inspect",
    "place",
    "program",
    "revert",
    "sweep",
    "validate",
]
