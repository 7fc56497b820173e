# SPDX-License-Identifier: Apache-2.0
"""Runs what the guides tell to type, and compares what comes out with what they say.

    python3 tools/docs/run_pages.py [--regate PROGRAM] [--words] [--write] [PAGE...]

Every fenced block `console` of a page is run, in order, in one folder of its own that has
`fixtures` in it. Lines that begin with `$ ` are commands (bash; a backslash at the end goes on),
the others what they print, on standard output and error. Words, versions, whole numbers and signs
must be the same, decimals within one of their last place, since libraries of mathematics round
differently. Seconds are not compared. --write puts into the pages what comes out.

That holds where products are summed in one order: on x86-64 with AVX2, whose kernels OpenBLAS is
asked for, and without instructions for bfloat16, which Regate would use. Of so few tokens a fit
that is rounded otherwise ends elsewhere (with OpenBLAS's kernels for Nehalem Ginis by up to 0.023,
max/mean by 0.10, a small loss on the other side of 0), and no tolerance tells that from a mistake:
on other processors, and with --words, figures are not compared, and that is said.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "Sources/RegateKit/RegateKit.docc"

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIME = re.compile(r"\b[0-9.]+ (?:ms|s|min|h)\b")
# Neither of them begins or ends inside a version.
DECIMAL = re.compile(r"(?<![\d.])([+-]?)\d[\d,]*\.(\d+)(?!\.?\d)")
NUMBER = re.compile(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?!\.?\d)")
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


def rounds_alike():
    """Whether this processor comes to the pages' figures."""
    if platform.machine() != "x86_64" or not os.path.exists("/proc/cpuinfo"):
        return False
    flags = re.search(r"^flags\s*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    flags = set(flags[1].split()) if flags else set()
    return {"avx2", "fma"} <= flags and not flags & {"avx512_bf16", "amx_bf16"}


def without(pattern, line, instead):
    return FILLING.sub(" ", pattern.sub(instead, TIME.sub("TIME", line))).strip()


def differs_in_words(expected, printed):
    return without(NUMBER, expected, "0") != without(NUMBER, printed, "0")


def differs_in_figures(expected, printed):
    """Whether a line is another one, apart from rounding and seconds."""
    def words(line):
        return without(DECIMAL, line, lambda number: number[1] + "0." + "0" * len(number[2]))

    def decimals(line):
        found = DECIMAL.finditer(TIME.sub("TIME", line))
        return [int(re.sub(r"\D", "", number[0])) for number in found]

    if words(expected) != words(printed):
        return True
    return any(abs(a - b) > 1 for a, b in zip(decimals(expected), decimals(printed), strict=True))


def compare(page, command, expected, printed, differs):
    if len(expected) == len(printed) and not any(map(differs, expected, printed)):
        return True
    print(f"{page.name}: $ {command}\nsays:\n" + "\n".join(expected))
    print("prints:\n" + "\n".join(printed) + "\n", flush=True)
    return False


def check(page, environment, differs, write):
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
                right &= write or compare(page, command, expected, printed, differs)
                lines += ["$ " + command, *printed]
            return "```console\n" + "\n".join(lines) + "\n```"

        ran_text = BLOCK.sub(ran, text)
    if write and ran_text != text:
        page.write_text(ran_text, encoding="utf-8")
    return right, count


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regate", type=Path, default=ROOT / ".build/release/regate")
    parser.add_argument("--words", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("pages", nargs="*", type=Path)
    given = parser.parse_args()
    program = given.regate.resolve()
    if program.name != "regate" or not os.access(program, os.X_OK):
        raise SystemExit(f"{program}: no program of the name regate")
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    differs = differs_in_figures
    if not given.words and rounds_alike():
        environment["OPENBLAS_CORETYPE"] = "Haswell"
    else:
        differs = differs_in_words
        why = "" if given.words else ": this processor rounds otherwise than theirs"
        print(f"Figures are not compared{why}.", flush=True)
    failed = False
    for page in given.pages or sorted(PAGES.glob("*.md")):
        right, count = check(page, environment, differs, given.write)
        failed |= not right
        if count:
            print(f"{page.name}: {count} commands {'ran' if right else 'FAILED'}", flush=True)
    sys.exit(failed)


main()
