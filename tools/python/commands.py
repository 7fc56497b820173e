# SPDX-License-Identifier: Apache-2.0
"""Writes `regate/_commands.py`, one typed function for each command, from what the program says of
its options. Run it when they changed; a test compares.

    python tools/python/commands.py .build/release/regate
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "regate/_commands.py"

HEAD = '''# SPDX-License-Identifier: Apache-2.0
# Written by tools/python/commands.py.
"""The commands of Regate as functions: each gives the object that `--json` prints."""

from __future__ import annotations

from typing import Literal

from ._program import File, Files, Number, Numbers, Watcher, Words, run
from ._report import Report

__all__ = [
{names}
]
'''

# The interface's own, or of no use to it.
LEFT_OUT = {"json", "quiet", "help", "progress", "clones"}

# What a value is, by the name that help gives it.
TYPES = {
    "n": "int", "s": "Number", "g": "Number", "nats": "Number", "x": "Number", "m": "Number",
    "p": "Number", "seconds": "Number", "n,...": "Numbers", "w,...": "Numbers", "s,...": "Numbers",
    "file": "File", "path": "File", "file.html": "bool | File", "key": "str", "name": "str",
    "auto|n": "int | str", "a-b|i/n": "str", "i/n": "str", "runtime:file": "str",
    "runtime,...": "Words", "part": "Files",
}
FRACTIONAL = {"flops", "bandwidth"}
FILES = {"calibration", "counts", "protect"}

# What the words of help mean here.
NOTES = {"html": "Write the page to this file, or with True only into the report's `page`."}


def name(argument):
    if argument["kind"] == "positional":
        return argument["valueName"]
    return next(n["name"] for n in argument["names"] if n["kind"] == "long").replace("-", "_")


def type_of(argument):
    option = name(argument)
    if argument["kind"] == "positional":
        return "File"
    if argument["kind"] == "flag":
        return "bool"
    if option in FILES:
        return "Files"
    if option in FRACTIONAL:
        return "Number"
    if values := argument.get("allValues"):
        return "Literal[" + ", ".join(json.dumps(value) for value in values) + "]"
    return TYPES[argument["valueName"]]


def parameter(argument):
    kind = type_of(argument)
    if argument["kind"] == "flag":
        return f"{name(argument)}: bool = False"
    if not argument["isOptional"]:
        return f"{name(argument)}: {kind}"
    if name(argument) == "html":
        return f"html: {kind} = False"
    return f"{name(argument)}: {kind} | None = None"


def wrapped(text, indent, first=""):
    return textwrap.fill(
        text, 96, initial_indent=" " * indent + first, subsequent_indent=" " * (indent + 4),
        break_long_words=False, break_on_hyphens=False)


def packed(items, indent):
    """Items, with commas, in lines of at most 96 columns: none is broken."""
    lines = [" " * indent]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > 96 and lines[-1].strip():
            lines.append(" " * indent)
        lines[-1] += (" " if lines[-1].strip() else "") + item + ","
    return "\n".join(lines)


def has_progress(command):
    return any(a["kind"] != "positional" and name(a) == "progress" for a in command["arguments"])


def documentation(command, arguments):
    lines = [f'    """{command["abstract"]}', ""]
    for argument in arguments:
        about = NOTES.get(name(argument), argument.get("abstract", ""))
        about = about.removesuffix(" Repeatable.")
        default = argument.get("defaultValue")
        if default and argument["kind"] == "option" and name(argument) != "threads":
            about += f" (default: {default})"
        lines.append(wrapped(f"{name(argument)}: {about}", 4))
    if has_progress(command):
        lines.append(wrapped("progress: Is called with a Progress, several times a second.", 4))
    return "\n".join([*lines, '    """']).replace("\\", "\\\\")


def function(command):
    arguments = [
        a for a in command["arguments"]
        if a["kind"] == "positional" or name(a) not in LEFT_OUT]
    operands = [a for a in arguments if a["kind"] == "positional"]
    options = [a for a in arguments if a["kind"] != "positional"]
    # Required options first.
    options.sort(key=lambda a: a["isOptional"])
    parameters = [*map(parameter, operands), "*", *map(parameter, options)]
    if has_progress(command):
        parameters.append("progress: Watcher | None = None")
    given = ", ".join(map(name, operands)) + ("," if len(operands) == 1 else "")
    head = packed(parameters, 4)
    body = packed([f'"{name(o)}": {name(o)}' for o in options], 12)
    return (
        f'def {command["commandName"]}(\n{head}\n) -> Report:\n'
        f"{documentation(command, operands + options)}\n"
        f'    return run(\n        "{command["commandName"]}", ({given}), {{\n{body}\n'
        f"        }}{', progress' if has_progress(command) else ''})\n")


def text(program):
    said = subprocess.run([program, "--experimental-dump-help"], check=True, capture_output=True)
    commands = [
        c for c in json.loads(said.stdout)["command"]["subcommands"] if c["commandName"] != "help"]
    names = "\n".join(f'    "{c["commandName"]}",' for c in commands)
    return "\n\n".join([HEAD.format(names=names), *map(function, commands)])


if __name__ == "__main__":
    OUTPUT.write_text(text(sys.argv[1]), encoding="utf-8")
