#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same damaged headers given to Regate and to those whose formats they are: safetensors to Python's
`safetensors` (its own Rust reader), GGUF to llama.cpp's own reader and to gguf-py.

  python3 tools/interop/check_headers.py --regate .build/release/regate [--llama-bin BIN] [--count 2000]
      [--seed 1] [--gguf-py]

Takes the small files of `fixtures`, changes their headers in a few hundred ways that matter (each number,
each key, each byte that counts or names something) and in `--count` random ones, and asks each reader
whether it opens the result. Prints how often they agree, and each kind of disagreement with one
example: which side refuses, and what it says; README.md explains those that there are. Exit code 1
where Regate ends otherwise than by one error, opens what safetensors or llama.cpp refuses, or where
an unchanged file is not opened by both.

Needs safetensors and numpy; for GGUF also gguf, and llama-quantize of llama.cpp (`--dry-run` opens a
file and reads its tensors' places).
"""

import argparse
import collections
import json
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"

def mutations(rng, data, header_end, count):
    """Random changes of a header: bytes, numbers, cuts and copies."""
    for _ in range(count):
        made = bytearray(data)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            place = rng.randrange(min(header_end, len(made)))
            kind = rng.randrange(6)
            if kind == 0:
                made[place] = rng.randrange(256)
            elif kind == 1:
                made[place] ^= 1 << rng.randrange(8)
            elif kind == 2:
                width = rng.choice([1, 2, 4, 8])
                value = rng.choice([0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1])
                made[place:place + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
            elif kind == 3:
                del made[place:place + rng.choice([1, 2, 4, 8, 16])]
            elif kind == 4:
                start = rng.randrange(min(header_end, len(made)))
                made[place:place] = made[start:start + rng.choice([1, 2, 8, 24])]
            else:
                del made[rng.randrange(place, len(made)):]
        yield "random", bytes(made)


# MARK: safetensors


def rewrapped(text, tail):
    return struct.pack("<Q", len(text)) + text + tail


def safetensors_changes(data):
    """Every number, key and word of a header replaced by what it must not be, and some that it may."""
    length = struct.unpack("<Q", data[:8])[0]
    text, tail = data[8:8 + length], data[8 + length:]
    for match in re.finditer(rb"-?\d+", text):
        for new in [b"0", b"-1", b"01", b"1.0", b"1e0", b"+1", b"18446744073709551616", b"9223372036854775808", b'"1"',
                    b"null", b"[1]", str(int(match.group()) + 1).encode()]:
            yield f"number to {new.decode()}", rewrapped(text[:match.start()] + new + text[match.end():], tail)
    for match in re.finditer(rb'"[^"]*"', text):
        word = match.group()
        for name, new in [("empty", b'""'), ("number", b"1"), ("null", b"null"), ("lower case", word.lower()),
                          ("renamed", word[:-1] + b'x"'), ("escaped", b'"\\u' + b"%04x" % word[1] + word[2:]),
                          ("half a pair", b'"\\ud800' + word[1:]), ("invalid UTF-8", b'"\xff' + word[1:]),
                          ("control character", b'"\x01' + word[1:])]:
            yield f"word {name}", rewrapped(text[:match.start()] + new + text[match.end():], tail)
    header = json.loads(text)
    for name in list(header):
        for key in list(header[name]):
            less = {other: dict(header[other]) for other in header}
            del less[name][key]
            yield f"without {key if name != '__metadata__' else 'an entry'}", rewrapped(json.dumps(less).encode(), tail)
        body = json.dumps(header[name]).encode()
        entry = json.dumps(name).encode() + b":" + body
        yield "entry twice", rewrapped(text.rstrip()[:-1] + b"," + entry + b"}", tail)
        more = {other: dict(header[other]) for other in header}
        more[name]["more"] = "1"
        yield "unknown key" if name != "__metadata__" else "more metadata", rewrapped(json.dumps(more).encode(), tail)
        key = next(iter(header[name]), None)
        if key is not None:
            twice = body[:-1] + b"," + json.dumps(key).encode() + b":" + json.dumps(header[name][key]).encode() + b"}"
            yield "key twice", rewrapped(text.replace(body.replace(b" ", b""), twice), tail)
    for name, new in [("spaces before", b" " + text), ("spaces after", text + b"    "), ("line feeds after", text + b"\n"),
                      ("text after", text + b"x"), ("zeros after", text + bytes(4)), ("byte order mark",
                      b"\xef\xbb\xbf" + text), ("array", b"[" + text + b"]"), ("empty", b""), ("empty object", b"{}")]:
        yield name, rewrapped(new, tail)
    for length in [0, 1, 2 ** 20, 100_000_001, 2 ** 63, 2 ** 64 - 1]:
        yield f"length {length}", struct.pack("<Q", length) + data[8:]
    for name, new in [("no data", b""), ("a byte less", tail[:-1]), ("a byte more", tail + b"\0"), ("a page more",
                      tail + bytes(4096))]:
        yield name, data[:len(data) - len(tail)] + new
    deep = b'{"__metadata__":{"a":' + b"[" * 200 + b"]" * 200 + b"}}"
    yield "nested deep", rewrapped(deep, b"")


def theirs_safetensors(path):
    try:
        with safe_open(path, framework="numpy") as file:
            for name in file.keys():
                file.get_slice(name).get_shape()
        return None
    except (SafetensorError, OSError, OverflowError) as error:
        return str(error)


# MARK: GGUF


def gguf_fields(data):
    """(offset, width, what) of each number that says how long something is, or of which type."""
    fields, at = [(0, 4, "magic"), (4, 4, "version"), (8, 8, "tensor count"), (16, 8, "key count")], 24
    tensors, keys = struct.unpack("<QQ", data[8:24])
    widths = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

    def text(what):
        nonlocal at
        fields.append((at, 8, what + " length"))
        at += 8 + struct.unpack("<Q", data[at:at + 8])[0]

    def value(kind, what):
        nonlocal at
        if kind == 8:
            text(what)
        elif kind == 9:
            fields.append((at, 4, "element type"))
            fields.append((at + 4, 8, "element count"))
            kind, count = struct.unpack("<IQ", data[at:at + 12])
            at += 12
            for _ in range(count):
                value(kind, "element")
        else:
            if what != "element":
                fields.append((at, widths[kind], "bool" if kind == 7 else what))
            at += widths[kind]

    for _ in range(keys):
        text("key")
        fields.append((at, 4, "value type"))
        at += 4
        value(struct.unpack("<I", data[at - 4:at])[0], "value")
    for _ in range(tensors):
        text("tensor name")
        fields.append((at, 4, "dimension count"))
        count = struct.unpack("<I", data[at:at + 4])[0]
        at += 4
        for _ in range(count):
            fields.append((at, 8, "dimension"))
            at += 8
        fields += [(at, 4, "tensor type"), (at + 4, 8, "data offset")]
        at += 12
    return fields, at


def gguf_changes(data):
    fields, end = gguf_fields(data)
    for at, width, what in fields:
        now = int.from_bytes(data[at:at + width], "little")
        for new in {0, 1, now - 1, now + 1, now + 32, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 3, 1000}:
            if new >= 0 and new != now:
                made = (new & (1 << 8 * width) - 1).to_bytes(width, "little")
                yield what, data[:at] + made + data[at + width:]
    for cut in range(0, end, 7):
        yield "cut", data[:cut]
    yield "more at the end", data + bytes(64)


def without_nested(data):
    """The file without arrays in arrays: the format has them, llama.cpp refuses them."""
    fields, end = gguf_fields(data)
    starts = [at for at, _, what in fields if what in ("key length", "tensor name length")] + [end]
    keys = struct.unpack("<Q", data[16:24])[0]
    kept = [data[start:after] for start, after in zip(starts[:keys], starts[1:])
            if b"array.nested" not in data[start:after]]
    header = data[:16] + struct.pack("<Q", len(kept)) + b"".join(kept) + data[starts[keys]:end]
    return header + bytes(-len(header) % 32) + data[end + -end % 32:]


def theirs_gguf(path, program):
    done = subprocess.run([program, "--dry-run", path, "/dev/null", "Q8_0"], capture_output=True,
                          text=True, errors="replace", timeout=60)
    said = done.stdout + done.stderr
    # What the file is a model of comes after its header was read and its tensors were found.
    if "loaded meta data with" in said:
        return None
    if done.returncode < 0:
        assertion = re.search(r"GGML_ASSERT.*|$", said).group()
        return f"ends by signal {-done.returncode}: {assertion}"
    found = (re.search(r"gguf_init_from\w*: (?!failed to open)(.*)", said)
             or re.search(r"failed to quantize: (.*)", said))
    return found.group(1) if found else f"ends with code {done.returncode}, without a reason"


def theirs_gguf_py(path):
    import gguf

    def late(*_):
        raise TimeoutError("takes more than ten seconds")

    # Some counts make it loop for more than ten minutes.
    signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    try:
        gguf.GGUFReader(path)
        return None
    except Exception as error:  # whatever it stops at
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


# MARK: Ours


class Ours:
    """What `regate inspect` says of a file; None where its header was read, whatever is missing
    after that. An end that is not by one error begins with WRONG."""

    WRONG = "ENDS "
    # Said of a file whose header is sound.
    AFTER = re.compile("|".join([
        "config.json", "model_type", "the key is absent", "no such tensor", "no layer has", "is absent or 0",
        "does not name its architecture", "must be a string that is not empty", "is an importance matrix",
        'general.architecture: is "', "holds no routers", "is not a Mixture"]))

    def __init__(self, regate):
        self.regate = regate

    def __call__(self, path):
        try:
            done = subprocess.run([self.regate, "inspect", path], capture_output=True, text=True,
                                  errors="replace", timeout=60)
        except subprocess.TimeoutExpired:
            return self.WRONG + "after more than a minute"
        if done.returncode == 0:
            return None
        lines = done.stderr.removesuffix("\n").split("\n")
        lines = [line for line in lines if not line.startswith("warning: ")]
        one = len(lines) == 1 and lines[0].startswith("regate: ") and not done.stdout
        if done.returncode != 1 or not one:
            said = done.stdout[-100:] + done.stderr[-200:]
            return f"{self.WRONG}with code {done.returncode}: {said!r}"
        return None if self.AFTER.search(lines[0]) else lines[0].split(path, 1)[-1].lstrip(": ")


def plain(said):
    """What was said without numbers and names, to tell kinds apart."""
    said = re.sub(r'"[^"]*"|\[[\d, ]*\]|`[^`]*`', "_", said)
    return re.sub(r"-?\d+", "N", said)[:90]


def side_of(own, other):
    """Who opens a file, by what each said of it."""
    if own is not None and own.startswith(Ours.WRONG):
        return "WRONG END"
    if own is None:
        return "both open" if other is None else "only the other refuses"
    return "only Regate refuses" if other is None else "both refuse"


def changed(kind, data, changes, rng, per_kind, count):
    """(what, bytes): some changes of each kind, and random ones."""
    by_kind = collections.defaultdict(list)
    for what, made in changes(data):
        by_kind[what].append((what, made))
    for made in by_kind.values():
        yield from rng.sample(made, min(per_kind, len(made)))
    end = 8 + struct.unpack("<Q", data[:8])[0] if kind == "safetensors" else gguf_fields(data)[1]
    yield from mutations(rng, data, end, count)


class Comparison:
    """Regate's reader beside another. `strict`: what the other refuses, Regate must refuse."""

    def __init__(self, kind, name, ours, theirs, path, strict=True):
        self.kind, self.name, self.ours, self.theirs, self.path = kind, name, ours, theirs, path
        self.wrong = {"WRONG END", *(["only the other refuses"] if strict else [])}
        self.counts, self.kinds, self.controls = collections.Counter(), {}, []

    def both(self, data):
        Path(self.path).write_bytes(data)
        return self.ours(self.path), self.theirs(self.path)

    def control(self, file, data):
        """An unchanged file is opened by both, or else no change of it says anything."""
        own, other = self.both(data)
        if own is not None or other is not None:
            said = f"Regate: {own or 'opens'}; the other: {other or 'opens'}"
            self.controls.append(f"{file}, unchanged: {said}")

    def add(self, what, data):
        own, other = self.both(data)
        side = side_of(own, other)
        self.counts[side] += 1
        if side.startswith("both"):
            return
        said = other if own is None else own
        number, example = self.kinds.get((side, plain(said)), (0, None))
        self.kinds[side, plain(said)] = (number + 1, example or f"{what}: {said.strip()[:160]}")

    def report(self):
        """Prints what was found; whether all that must hold does."""
        counts = ", ".join(f"{side} {count}" for side, count in sorted(self.counts.items()))
        print(f"{self.kind}, {self.name}: {sum(self.counts.values())} files: {counts}", flush=True)
        for (side, _), (number, example) in sorted(self.kinds.items(), key=str):
            print(f"  {'NOT RIGHT: ' if side in self.wrong else ''}{side}, {number}: {example}")
        for problem in self.controls:
            print(f"  NOT RIGHT: {problem}")
        return not self.controls and not self.wrong & set(self.counts)


def read(kind, names):
    return {name: (FIXTURES / f"{kind}/{name}.{kind}").read_bytes() for name in names}


def compare(comparison, files, changes, arguments, rng):
    for file, data in files.items():
        comparison.control(file, data)
        count = arguments.count // len(files)
        for what, made in changed(comparison.kind, data, changes, rng, arguments.per_kind, count):
            comparison.add(what, made)
    return comparison.report()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regate", required=True)
    parser.add_argument("--llama-bin", type=Path)
    parser.add_argument("--gguf-py", action="store_true", help="compare with gguf-py's reader too")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-kind", type=int, default=40, help="most changes of a kind, of each file")
    arguments = parser.parse_args()
    ours, rng, right = Ours(arguments.regate), random.Random(arguments.seed), []
    safetensors = read("safetensors", ["one", "shapes", "dtypes"])
    gguf = read("gguf", ["every-key", "version-2", "every-type"])
    with tempfile.TemporaryDirectory() as folder:
        def run(kind, name, theirs, changes, files, **more):
            comparison = Comparison(kind, name, ours, theirs, f"{folder}/file.{kind}", **more)
            right.append(compare(comparison, files, changes, arguments, rng))

        run("safetensors", "safetensors in Python", theirs_safetensors, safetensors_changes,
            safetensors)
        if arguments.llama_bin:
            program = arguments.llama_bin / "llama-quantize"
            files = gguf | {"every-key": without_nested(gguf["every-key"])}
            run("gguf", "llama.cpp", lambda path: theirs_gguf(path, program), gguf_changes, files)
        if arguments.gguf_py:
            # It opens more, and fails at what it does not read into arrays.
            run("gguf", "gguf-py", theirs_gguf_py, gguf_changes, gguf, strict=False)
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
