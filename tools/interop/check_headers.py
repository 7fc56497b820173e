#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same damaged headers given to Regate and to those whose formats they are: safetensors to Python's
`safetensors` (its own Rust reader), GGUF to llama.cpp's own reader and to gguf-py.

  python3 tools/interop/check_headers.py --regate .build/release/regate [--llama-bin BIN] [--count 2000]
      [--seed 1] [--gguf-py]

Takes the small files of `fixtures`, changes their headers in a few hundred ways that matter (each number,
each key, each byte that counts or names something) and in `--count` random ones, and asks each reader
whether it opens the result. Prints how often they agree, and each kind of disagreement with one example:
which side refuses, and what it says; README.md explains those that there are. Exit code 1 where Regate ends
otherwise than by one error.

Needs safetensors and numpy; for GGUF also gguf, and llama-quantize of llama.cpp (`--dry-run` opens a
file and reads its tensors' places).
"""

import argparse
import collections
import json
import random
import re
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


def theirs_gguf(path, program):
    done = subprocess.run([program, "--dry-run", path, "/dev/null", "Q8_0"], capture_output=True, text=True,
                          errors="replace", timeout=60)
    # What the file is a model of comes after its header was read.
    said = done.stdout + done.stderr
    found = re.search(r"gguf_init_from\w*: (?!failed to open)(.*)", said)
    if found:
        return found.group(1)
    if done.returncode < 0 or "GGML_ASSERT" in said:
        return f"ends by signal {-done.returncode}: " + (re.search(r"GGML_ASSERT.*", said) or re.search("$", said)).group()
    return None


def theirs_gguf_py(path):
    import gguf
    try:
        gguf.GGUFReader(path)
        return None
    except Exception as error:  # whatever it stops at
        return f"{type(error).__name__}: {error}"


# MARK: Ours


class Ours:
    """What `regate inspect` says of a file; None where its header was read, whatever is missing after that."""

    # Said of a file whose header is sound.
    AFTER = re.compile("|".join([
        "config.json", "model_type", "the key is absent", "no such tensor", "no layer has", "is absent or 0",
        "does not name its architecture", "must be a string that is not empty", "is an importance matrix",
        'general.architecture: is "', "holds no routers", "is not a Mixture"]))

    def __init__(self, regate):
        self.regate = regate

    def __call__(self, path):
        done = subprocess.run([self.regate, "inspect", path], capture_output=True, text=True, errors="replace",
                              timeout=60)
        if done.returncode == 0:
            return None
        if done.returncode != 1:
            return f"ENDS WITH CODE {done.returncode}: {done.stderr[-200:]}"
        said = done.stderr.strip().split(path, 1)[-1]
        return None if self.AFTER.search(done.stderr) else said.lstrip(": ")


def plain(said):
    """What was said without numbers and names, to tell kinds apart."""
    said = re.sub(r'"[^"]*"|\[[\d, ]*\]|`[^`]*`', "_", said)
    return re.sub(r"-?\d+", "N", said)[:90]


def compare(kind, name, files, ours, theirs, changes, count, rng, folder, per_kind):
    counts, kinds = collections.Counter(), {}
    path = str(folder / f"file.{kind}")
    for file in files:
        data = file.read_bytes()
        end = 8 + struct.unpack("<Q", data[:8])[0] if kind == "safetensors" else gguf_fields(data)[1]
        chosen = []
        by_kind = collections.defaultdict(list)
        for what, made in changes(data):
            by_kind[what].append((what, made))
        for made in by_kind.values():
            chosen += rng.sample(made, min(per_kind, len(made)))
        for what, made in [*chosen, *mutations(rng, data, end, count // len(files))]:
            Path(path).write_bytes(made)
            own, other = ours(path), theirs(path)
            if own is not None and own.startswith("ENDS"):
                counts["CRASH"] += 1
                kinds[("CRASH", own)] = (what, own)
            side = ("both open" if own is other is None else "both refuse" if own is not None and other is not None
                    else "only Regate refuses" if own is not None else "only the other refuses")
            counts[side] += 1
            if side.startswith("only"):
                said = own if own is not None else other
                key = (side, plain(said))
                number, example = kinds.get(key, (0, None))
                kinds[key] = (number + 1, example or f"{what}: {said.strip()[:160]}")
    print(f"{kind}, {name}: {sum(counts.values())} files: " + ", ".join(f"{side} {count}" for side, count in sorted(counts.items())), flush=True)
    for (side, _), (number, example) in sorted(kinds.items(), key=lambda item: str(item)):
        print(f"  {side}, {number}: {example}")
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--regate", required=True)
    parser.add_argument("--llama-bin", type=Path)
    parser.add_argument("--gguf-py", action="store_true", help="compare with gguf-py's reader too")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-kind", type=int, default=40, help="most changes of a kind, of each file")
    arguments = parser.parse_args()
    ours, rng, crashes = Ours(arguments.regate), random.Random(arguments.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files = [FIXTURES / f"safetensors/{name}.safetensors" for name in ["one", "shapes", "dtypes"]]
        crashes += compare("safetensors", "safetensors in Python", files, ours, theirs_safetensors, safetensors_changes, arguments.count, rng,
                           folder, arguments.per_kind)["CRASH"]
        files = [FIXTURES / f"gguf/{name}.gguf" for name in ["every-key", "version-2", "every-type"]]
        if arguments.llama_bin:
            program = arguments.llama_bin / "llama-quantize"
            crashes += compare("gguf", "llama.cpp", files, ours, lambda path: theirs_gguf(path, program), gguf_changes,
                               arguments.count, rng, folder, arguments.per_kind)["CRASH"]
        if arguments.gguf_py:
            crashes += compare("gguf", "gguf-py", files, ours, theirs_gguf_py, gguf_changes, arguments.count, rng, folder,
                               arguments.per_kind)["CRASH"]
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
