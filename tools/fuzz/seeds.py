#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes what the targets start from, in FOLDER/TARGET, and FOLDER/TARGET.dict of the words in it:
from the fixtures, the classes' configurations in the tests and, with --regate, files that the tool
writes.

  python3 tools/fuzz/seeds.py FOLDER [--regate .build/release/regate]
"""

import argparse
import gzip
import io
import json
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
# A model's metadata and tensor list; their data are zeros that the target adds.
GGUF_HEADER = 24 << 10
LARGEST = 48 << 10


class Seeds:
    def __init__(self, folder):
        self.folder = folder
        self.counts = {}

    def add(self, target, data):
        if len(data) > LARGEST:
            return
        number = self.counts[target] = self.counts.get(target, -1) + 1
        (self.folder / target).mkdir(parents=True, exist_ok=True)
        (self.folder / target / f"seed-{number}").write_bytes(data)

    def dictionaries(self):
        """Words of a target's seeds, and numbers that are none."""
        for target in self.counts:
            words = set()
            for path in (self.folder / target).glob("seed-*"):
                words.update(re.findall(rb"[A-Za-z_#<][\w./@<>|-]{2,39}", path.read_bytes()))
            # What stands in many tensors' names differs by numbers only.
            words = sorted({re.sub(rb"\d+", b"1", word) for word in words})[:1500]
            lines = [b'"' + word + b'"\n' for word in words] + [rb'"\xff\xff\xff\xff\xff\xff\xff\x7f"' + b"\n"]
            (self.folder / f"{target}.dict").write_bytes(b"".join(lines))


def header_of(path):
    with open(path, "rb") as file:
        return file.read(struct.unpack("<Q", file.read(8))[0]).rstrip()


def safetensors(tensors, metadata=None):
    """A header for [(name, dtype, shape, bytes)] laid out one after the other."""
    header, offset = ({"__metadata__": metadata} if metadata else {}), 0
    for name, dtype, shape, count in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + count]}
        offset += count
    return json.dumps(header, separators=(",", ":")).encode()


def npy(descr, shape, data):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * ((63 - (10 + len(head)) % 64) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() + data


def archive(members, method):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in members.items():
            made.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def pickle(layers=2, experts=32, storage="LongStorage"):
    """What torch.save writes for {"logical_count": a tensor [layers, experts]}."""
    return (b"\x80\x02}q\0" + text("logical_count") + b"q\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02(("
            + text("storage") + b"q\x03ctorch\n" + storage.encode() + b"\nq\x04" + text("0") + b"q\x05"
            + text("cpu") + b"q\x06M" + struct.pack("<H", layers * experts) + b"tq\x07QK\0"
            + b"K" + bytes([layers]) + b"K" + bytes([experts]) + b"\x86q\x08K" + bytes([experts])
            + b"K\x01\x86q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs.")


def swift_value(source, at=0):
    """A literal of Swift from `at` on, and where it ends."""
    while source[at] in " \n":
        at += 1
    if source[at] != "[":
        word = re.compile(r'"(?:[^"\\]|\\.)*"|ClassSample\.null|\.null|null|[-\w.]+').match(source, at)
        found = word.group()
        return (None if found.endswith("null") else json.loads(found)), word.end()
    items, keys, at = [], [], at + 1
    while True:
        while source[at] in " \n,":
            at += 1
        if source[at] == ":":
            at += 1
            continue
        if source[at] == "]":
            return (dict(zip(keys, items)) if keys else items), at + 1
        value, at = swift_value(source, at)
        if re.match(r"\s*:", source[at:]):
            keys.append(value)
        else:
            items.append(value)


def class_samples():
    """(config.json, header) of every class in the tests' samples."""
    for path in sorted((ROOT / "Tests/RegateKitTests").glob("*Samples*.swift")):
        source = path.read_text()
        for found in re.finditer(r'ClassSample\(\s*"(\w+)",\s*', source):
            try:
                own, at = swift_value(source, found.end())
                body = re.compile(r'\s*,\s*"""(.*?)"""', re.S).match(source, at).group(1)
                own = dict(own)
            except (AttributeError, TypeError, ValueError):
                print(f"{path.name}: a sample of {found.group(1)} is not read", file=sys.stderr)
                continue
            config = dict(
                model_type=found.group(1), vocab_size=40, hidden_size=32, intermediate_size=24,
                moe_intermediate_size=8, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, num_experts_per_tok=2, max_position_embeddings=64,
                tie_word_embeddings=False, rope_parameters={"rope_theta": 10000.5}) | own
            keys = ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"]
            experts = next((own[key] for key in keys if isinstance(own.get(key), int)), 0)
            tensors, layers = [], "-"
            for word in body.split():
                if word.endswith(":"):
                    layers = word[:-1]
                    continue
                name, shape = word.split("=")
                shape = [int(size) for size in shape.split("x")]
                count = 4
                for size in shape:
                    count *= size
                for layer in layers:
                    full = name if layer == "-" else f"model.layers.{layer}.{name}"
                    for expert in range(experts) if "@" in full else [0]:
                        tensors.append((full.replace("@", str(expert)), "F32", shape, count))
            yield json.dumps(config, separators=(",", ":")).encode(), safetensors(tensors)


def element_types():
    """The names of all types, in the order in which the target counts them."""
    source = (ROOT / "Sources/Tensors/ElementType.swift").read_text()
    cases = source[:source.index("public var")]
    return re.findall(r'= "(\w+)"', cases)


def collect(seeds):
    for path in sorted(FIXTURES.rglob("*.safetensors")):
        data = path.read_bytes()
        if len(data) < 16 << 10:
            seeds.add("safetensors", data)
    seeds.add("safetensors-index", json.dumps(
        {"metadata": {"total_size": 2}, "weight_map": {
            "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}).encode())
    for path in sorted(FIXTURES.rglob("*.gguf")):
        data = path.read_bytes()
        if len(data) <= 16 << 10:
            seeds.add("gguf", data)
        seeds.add("gguf-model", data[:GGUF_HEADER])
        if b"tokenizer.ggml.tokens" in data:
            seeds.add("gguf-vocabulary", data[:GGUF_HEADER])
    imatrix = (FIXTURES / "gguf/tiny.imatrix.gguf").read_bytes()
    name = b"blk.0.ffn_gate.weight"
    old = struct.pack("<ii", 1, len(name)) + name + struct.pack("<ii2f", 1, 2, 1, 2)
    for data in [imatrix, old, old + struct.pack("<ii", 1, 1) + b"x"]:
        seeds.add("imatrix", data)
    seeds.add("counts", imatrix)

    ids = struct.pack("<8i", 1, 2, 3, 4, 5, 6, 7, 8)
    for descr, shape, data in [
            ("<i4", (2, 4), ids), (">i4", (8,), ids), ("|u1", (32,), ids), ("<f4", (8,), ids),
            ("<f8", (4,), ids), ("<f2", (4, 4), ids), ("|b1", (4,), b"\0\1\1\0"), ("<i8", (), ids[:8])]:
        seeds.add("npy", npy(descr, shape, data))
        seeds.add("token-ids", b"\0" + npy(descr, shape, data))
    for path in sorted((FIXTURES / "arrays").glob("*.npz")):
        seeds.add("npz", path.read_bytes())
        seeds.add("token-ids", b"\1" + path.read_bytes())
    seeds.add("npz", archive({"a.npy": npy("<i4", (2, 4), ids)}, zipfile.ZIP_DEFLATED))
    header = safetensors([("input_ids", "I32", [2, 4], 32)])
    seeds.add("token-ids", b"\2" + struct.pack("<Q", len(header)) + header + ids)
    for data in [npy("<i4", (2, 4), ids), npy("<f4", (64, 64), bytes(16384))]:
        made = zlib.compress(data, 9)[2:-4]
        seeds.add("zip-member", struct.pack("<II", zlib.crc32(data), len(data)) + made)
    seeds.add("gzip", (FIXTURES / "arrays/text.txt.gz").read_bytes())
    seeds.add("gzip", gzip.compress(b"one\n") + gzip.compress(b"two\n") + bytes(8))
    for layers, storage in [(2, "LongStorage"), (1, "FloatStorage"), (3, "IntStorage")]:
        made = pickle(layers, storage=storage)
        seeds.add("pickle", made)
        members = {"a/data.pkl": made, "a/byteorder": b"little", "a/data/0": bytes(layers * 32 * 8)}
        seeds.add("torch", archive(members, zipfile.ZIP_STORED))
        counted = members | {"a/data/0": struct.pack(f"<{layers * 32}q", *range(1, layers * 32 + 1))}
        seeds.add("counts", archive(counted, zipfile.ZIP_STORED))
    rows = [(layer, expert, layer + expert + 1) for layer in range(2) for expert in range(32)]
    seeds.add("counts", b"layer,expert,count\n" + "\n".join("%d,%d,%d" % row for row in rows).encode())
    seeds.add("counts", json.dumps([dict(zip(["layer", "expert", "count"], row)) for row in rows]).encode())
    seeds.add("counts", json.dumps({"layers": [
        {"index": layer, "load": list(range(1, 33))} for layer in range(2)]}).encode())
    seeds.add("counts", b"n" + npy("<i4", (3, 2, 4), struct.pack("<24i", *list(range(4)) * 6)))

    for path in sorted(FIXTURES.rglob("*.json")):
        data = path.read_bytes()
        if len(data) < 8 << 10:
            seeds.add("json", data)
    seeds.add("json", b'{"a":[1,-2.5e10,true,null,"\\ud83d\\ude42\\u0000"],"b":NaN,"b":-Infinity}')
    lines = b'{"text":"one\\nline"}\n{"text":null}\n\n{"messages":[],"text":"two"}\n'
    for kind, data in enumerate([b"plain\xe2\x80\xa8text\n", lines, b"[" + lines.replace(b"\n", b",")[:-2] + b"]",
                                 gzip.compress(lines), b"\xef\xbb\xbfmarked\n"]):
        seeds.add("documents", bytes([kind]) + data)
    seeds.add("documents", b"\2" + json.dumps([{"text": "a"}, {"text": "b"}], indent=1).encode())

    for path in sorted((FIXTURES / "tokenizers").rglob("tokenizer.json")) + [
            FIXTURES / "tiny-mixtral/tokenizer.json"]:
        seeds.add("tokenizer-json", path.read_bytes())
        settings = json.dumps({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True,
                               "added_tokens_decoder": {"7": {"content": "<x>", "special": True}}})
        seeds.add("tokenizer-folder", b"t" + path.read_bytes() + b"\0" + settings.encode() + b"\0"
                  + b'{"pad_token":"<pad>"}\0{"<pad>":9}')
        for pattern in re.findall(r'"Regex":\s*("(?:[^"\\]|\\.)*")', path.read_text()):
            seeds.add("pattern", json.loads(pattern).encode() + b"\0I'll take 1234  of\n them")
    for pattern in [r"\p{N}{1,3}", r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\s+(?!\S)|\s+", r"[a-z&&[^x]]++|^a|b$|\A.\z",
                    r"(?:a|ab)+c?", r"\x{1F600}|\u0041|[\w-]"]:
        seeds.add("pattern", pattern.encode() + b"\0aaab 1234 x")
    characters = {chr(code): code - 33 for code in range(33, 127)} | {"\u0120": 94, "ab": 95, "<|endoftext|>": 96}
    plain = json.dumps(characters).encode() + b"\0#version: 0.2\na b\n\0"
    for name in ["GPT2Tokenizer", "Qwen2TokenizerFast", "GPTNeoXTokenizer", "Qwen3_5Tokenizer"]:
        seeds.add("tokenizer-folder", b"v" + plain + json.dumps({"tokenizer_class": name}).encode()
                  + b'\0{"add_prefix_space":true,"add_bos_token":true}')
    tokens = ["%s" % letter for letter in "YQ== Yg== YWI= IA== SGVsbG8=".split()]
    seeds.add("tekken", json.dumps({
        "config": {"pattern": r"\p{L}+|\p{N}|\s+|[^\s\p{L}\p{N}]+", "default_vocab_size": 9,
                   "default_num_special_tokens": 3},
        "vocab": [{"rank": rank, "token_bytes": token} for rank, token in enumerate(tokens)],
        "special_tokens": [{"rank": 0, "token_str": "<unk>"}, {"rank": 1, "token_str": "<s>"}]}).encode())
    seeds.add("tiktoken", "\n".join(f"{token} {rank}" for rank, token in enumerate(tokens)).encode()
              + b'\0{"added_tokens_decoder":{"5":{"content":"[BOS]"}},"bos_token":"[BOS]"}')

    digest = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"
    file = {"name": "model.safetensors", "bytes": 16, "sha256": digest, "part": 0}
    for kind in ["delta", "undo"]:
        made = {"format": f"regate.{kind}.v1", "about": {"manifest": "regate.json"}, "base": [file],
                "files": [file | {"pieces": [[0, 0, 4], [0, 4], [0, 8, 8]]},
                          file | {"name": "a/b.json", "bytes": 4, "part": None, "pieces": [[0, 4]]}]}
        seeds.add("delta", json.dumps(made).encode() + b"\0" + b"4567")
        made["files"] = made["files"][:1]
        seeds.add("undo", json.dumps(made).encode() + b"\0" + b"4567")
    state = {"format": "regate.resume.v1", "key": {"version": "1"}, "name": "fit", "layers": [0], "records": 1,
             "summary": None, "layer": 1, "streams": 1, "hidden": "hidden-1.bin"}
    record = safetensors([("a", "F32", [1], 4)], {"figures.0": "{}"})
    seeds.add("resume", json.dumps(state).encode() + b"\0" + struct.pack("<Q", len(record)) + record + bytes(4))

    capture = header_of(FIXTURES / "tiny-qwen3-moe-data/heldout.capture.safetensors")
    seeds.add("capture", capture)
    rows = [("layers.%d.router_input" % layer, "F32", [8, 64], 2048) for layer in range(2)]
    seeds.add("capture", safetensors(rows + [("token_ids", "I32", [1, 8], 32)], {
        "format": "regate.capture.v1", "tokens": "8", "sequences": "1", "part": "1/2", "choice": "0",
        "length": "8", "max_tokens": "8", "seed": "0", "ppl_protocol": "all", "compute_dtype": "float32"}))

    samples = list(class_samples())
    if not samples:
        sys.exit("seeds.py: no sample of a class was read in Tests/RegateKitTests")
    for config, header in samples:
        seeds.add("config", config + b"\0" + header)
    for folder in sorted(FIXTURES.glob("variants/*")) + sorted(FIXTURES.glob("tiny-*")):
        if (folder / "config.json").exists() and (folder / "model.safetensors").exists():
            config = json.dumps(json.loads((folder / "config.json").read_text()), separators=(",", ":"))
            seeds.add("config", config.encode() + b"\0" + header_of(folder / "model.safetensors"))
    types = element_types()
    for path in sorted((FIXTURES / "blocks").glob("*.bin")):
        seeds.add("blocks", bytes([types.index(path.stem)]) + path.read_bytes()[:600])
    for number in range(len(types)):
        seeds.add("blocks", bytes([number]) + bytes(range(256)) * 2)


def write(seeds, regate):
    """A fit, and a delta of it, as the tool writes them for the tiny Qwen3-MoE."""
    source, data = FIXTURES / "tiny-qwen3-moe", FIXTURES / "tiny-qwen3-moe-data"
    with tempfile.TemporaryDirectory() as folder:
        def run(*arguments):
            subprocess.run([regate, *map(str, arguments), "--quiet"], check=True, stdout=subprocess.DEVNULL)
        fit, delta = Path(folder) / "a.fit", Path(folder) / "a.delta"
        for form in ["lpr", "lpr-official"]:
            run("fit", source, "--calibration", data / "calibration.npy", "--router", form, "--latent", 2,
                "--refine", 2, "--output", fit)
            made = fit.read_bytes()
            print("fit:", len(made), "bytes")
            seeds.add("fit", made)
            run("convert", source, "--fit", fit, "--router", form, "--delta", delta)
            made = delta.read_bytes()
            length = struct.unpack("<Q", made[8:16])[0]
            seeds.add("delta", made[48:48 + length] + b"\0" + made[48 + length:])
            fit.unlink(), delta.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--regate")
    arguments = parser.parse_args()
    seeds = Seeds(arguments.folder)
    collect(seeds)
    if arguments.regate:
        write(seeds, arguments.regate)
    seeds.dictionaries()
    for target, count in sorted(seeds.counts.items()):
        print(f"{target}: {count + 1}")


if __name__ == "__main__":
    main()
