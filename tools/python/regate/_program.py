# SPDX-License-Identifier: Apache-2.0
"""Runs the `regate` program: finds it, says what it is asked, and tells what it said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from ._report import Page, Report

File = Union[str, "os.PathLike[str]"]
"""A file or folder."""

Files = Union[File, Sequence[File]]
"""One file, or several."""

Number = Union[int, float]
Numbers = Union[Number, str, Sequence[Number]]
"""One number, several, or several as the command line takes them: `"4,8"`."""

Words = Union[str, Sequence[str]]


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is."""

    label: str
    """The piece of work."""
    stage: str
    """What is being done now; empty where work has no stages."""
    done: int
    total: int

    @property
    def share(self) -> float:
        """The part that is done, from 0 to 1."""
        return self.done / self.total


Watcher = Callable[[Progress], object]


class Error(Exception):
    """What the tool refused or could not do: its own sentence."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code
        """The exit code: 1 failed, 2 wrong usage; negative for the number of a signal."""


class NotMet(Error):
    """The work was done, and a threshold or a required runtime was not met."""

    def __init__(self, message: str, code: int, report: Report) -> None:
        super().__init__(message, code)
        self.report = report


class Warned(UserWarning):
    """A warning of the tool."""


def program() -> str:
    """Where the program is: as REGATE says, beside this Python, beside this package, or in PATH."""
    if given := os.environ.get("REGATE"):
        return given
    users = sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    beside = Path(__file__).resolve().parents[1] / "bin"  # pip install --target
    for folder in (sysconfig.get_path("scripts"), users, str(beside)):
        if found := shutil.which("regate", path=folder):
            return found
    if found := shutil.which("regate"):
        return found
    raise FileNotFoundError(
        "the program regate is not installed: install the wheel of this platform, or put the program "
        "into PATH or its path into REGATE")


def run(
    command: str, operands: Iterable[File | None], options: Mapping[str, Any],
    watcher: Watcher | None = None,
) -> Report:
    """The report of one command. The program is ended where waiting for it is."""
    with tempfile.TemporaryDirectory(prefix="regate-") as scratch:
        page = Path(scratch, "page.html")
        words = [program(), command, *_words(options, page), "--json"]
        if command not in QUIET:
            words += ["--progress", "json"]
        # What begins with a dash is a name, too.
        words += ["--", *(os.fspath(operand) for operand in operands if operand is not None)]
        with open(Path(scratch, "report"), "w+b") as output:
            code, said = _wait(words, output, watcher)
            output.seek(0)
            text = output.read()
        if code != 0 and not text:
            raise Error(_sentence(said) or f"regate {command} ended with code {code}", code)
        try:
            report = Report(json.loads(text) if text else {})
        except ValueError:
            # It was ended, or could not write on, in the middle of its report.
            broken = f"regate {command} ended with code {code} and no whole report"
            raise Error(_sentence(said) or broken, code) from None
        html = options.get("html")
        if html is True:
            html = page
        if html:
            report.page = Page(Path(html).read_text(encoding="utf-8"))
    if code != 0:
        raise NotMet(_sentence(said) or f"regate {command}: not met; see `report`", code, report)
    return report


# Commands that have nothing to wait for, and no progress.
QUIET = frozenset(["check"])


def _words(options: Mapping[str, Any], page: Path) -> Iterable[str]:
    """Options as the command line takes them: None and False are not said."""
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            yield option if name != "html" else f"{option}={page}"
        elif name in REPEATED:
            for file in _files(value):
                yield f"{option}={file}"
        elif name == "merge":
            yield option
            # Its parts are words of their own: one that begins with a dash would be an option.
            yield from (f"./{part}" if part.startswith("-") else part for part in _files(value))
        elif isinstance(value, (str, os.PathLike)):
            yield f"{option}={os.fspath(value)}"
        elif isinstance(value, Iterable):
            yield f"{option}={','.join(str(one) for one in value)}"
        else:
            # A number, NumPy's too.
            yield f"{option}={value}"


REPEATED = frozenset(["calibration", "counts", "protect"])


def _files(value: Files) -> list[str]:
    """The names of one file, or of several."""
    files = [value] if isinstance(value, (str, os.PathLike)) else value
    return [os.fspath(file) for file in files]


def _wait(words: Sequence[str], output: Any, watcher: Watcher | None) -> tuple[int, list[str]]:
    """The exit code, and the lines on standard error that are neither progress nor warnings."""
    said: list[str] = []
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, text=True,
        encoding="utf-8", errors="replace")
    try:
        assert process.stderr is not None
        for line in process.stderr:
            event = _event(line)
            if event is None:
                said.append(line.rstrip("\n"))
            elif "warning" in event:
                warnings.warn(event["warning"], Warned, stacklevel=4)
            elif watcher is not None:
                watcher(Progress(**event))
        return process.wait(), said
    finally:
        # Interrupted, or the watcher threw.
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _event(line: str) -> dict[str, Any] | None:
    """The event of a line; None where it is none."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _sentence(said: Sequence[str]) -> str:
    """The tool's sentence without its name; of a wrong usage the first line, which says what."""
    text = "\n".join(said).strip()
    if text.startswith("Error: "):
        return text.splitlines()[0].removeprefix("Error: ")
    return text.removeprefix("regate: ")


def main() -> None:
    """`python -m regate`: the program itself."""
    words = [program(), *sys.argv[1:]]
    os.execv(words[0], words)
