# SPDX-License-Identifier: Apache-2.0
"""Runs what the guides tell to type, and compares what comes out with what they say.

    python3 tools/docs/run_pages.py [--regate PROGRAM] [--write] [PAGE...]

Every fenced block `console` of a page is run, in order, in one folder of its own that has `fixtures`
in it. Lines that begin with `$ ` are commands (bash; a backslash at the end goes on), the others what
they print, on standard output and error. Words must be the same, numbers within 5 % or 0.02:
processors round differently. Seconds are not compared. --write puts into the pages what comes out.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "Sources/RegateKit/RegateKit.docc"

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIME = re.compile(r"\b[0-9.]+ (?:ms|s|min|h)\b")
NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")
# A rule under a table's head is as wide as its numbers, and so is what fills a column.
FILLING = re.compile(r"-{3,}|\s+")


def commands(block):
    """Pairs of a command and the lines that it should print."""
    found = []
    goes_on = False
    for line in block.splitlines():
        if goes_on:
            found[-1][0] += "\n" + line
        elif line.startswith("$ "):
            found.append([line[2:], []])
        else:
            found[-1][1].append(line)
            continue
        goes_on = line.endswith("\\")
    return found


def run(command, folder, environment):
    result = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # A command that is meant to fail ends in `|| echo "exit code $?"`.
    if result.returncode != 0:
        raise SystemExit(f"$ {command}\nended with {result.returncode}:\n{result.stdout}")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def differs(expected, printed):
    """Whether a line is another one, apart from rounding and seconds."""
    expected, printed = TIME.sub("TIME", expected), TIME.sub("TIME", printed)
    words = [FILLING.sub(" ", NUMBER.sub("0", line)).strip() for line in (expected, printed)]
    if words[0] != words[1]:
        return True
    numbers = [
        [float(number.replace(",", "")) for number in NUMBER.findall(line)]
        for line in (expected, printed)]
    return any(abs(a - b) > max(0.02, 0.05 * abs(a)) for a, b in zip(*numbers, strict=True))


def compare(page, command, expected, printed):
    if len(expected) == len(printed) and not any(map(differs, expected, printed)):
        return True
    print(f"{page.name}: $ {command}\nsays:\n" + "\n".join(expected))
    print("prints:\n" + "\n".join(printed) + "\n", flush=True)
    return False


def check(page, environment, write):
    """Whether a page is right; how many commands it has."""
    text = page.read_text(encoding="utf-8")
    right, count = True, 0
    with tempfile.TemporaryDirectory(prefix="regate-docs-") as folder:
        os.symlink(ROOT / "fixtures", Path(folder, "fixtures"))

        def ran(match):
            nonlocal right, count
            lines = []
            for command, expected in commands(match[1]):
                printed = run(command, folder, environment)
                count += 1
                right &= write or compare(page, command, expected, printed)
                lines += ["$ " + command, *printed]
            return "```console\n" + "\n".join(lines) + "\n```"

        ran_text = BLOCK.sub(ran, text)
    if write and ran_text != text:
        page.write_text(ran_text, encoding="utf-8")
    return right, count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regate", type=Path, default=ROOT / ".build/release/regate")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("pages", nargs="*", type=Path)
    given = parser.parse_args()
    program = given.regate.resolve()
    if program.name != "regate" or not os.access(program, os.X_OK):
        raise SystemExit(f"{program}: no program of the name regate")
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    failed = False
    for page in given.pages or sorted(PAGES.glob("*.md")):
        right, count = check(page, environment, given.write)
        failed |= not right
        if count:
            print(f"{page.name}: {count} commands {'ran' if right else 'FAILED'}", flush=True)
    sys.exit(failed)


main()
