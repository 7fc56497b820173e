#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check written checkpoints with other people's readers.

For an original and each output (a Hugging Face folder, a .safetensors file or a .gguf file):

1. open      every file opens in Python's safetensors or gguf, and its tensors can be read
2. tensors   names, shapes and types are the original's; every tensor that is neither a router nor
             part of an expert is equal byte for byte; each expert of the output equals, byte for
             byte and with all that belongs to it, one expert of the same layer of the original
3. loads     folders: transformers finds every key it wants, no other, and no wrong shape, and gives
             finite logits for a few tokens; .gguf: llama-perplexity loads the file and evaluates
             256 random words (with --llama-bin)

An output in the prototype form (`model_type` starting with `regate_`) has other router tensors than the
original, which is allowed; it is loaded with trust_remote_code if --trust-remote-code is given.

Prints one line per output and check; the exit code is 0 if all passed, 1 if one failed.
"""

import argparse
import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# What belongs to a router, by name, in safetensors and in GGUF.
ROUTER = re.compile(
    r"\.(?:mlp|block_sparse_moe|feed_forward)\.(?:gate|router)\.(?!.*_proj)|\.moe_statics\.|e_score_correction_bias"
    r"|\.ffn_gate_inp\.(?:weight|bias)$|\.exp_probs_b(?:\.bias)?$")
# Anything of a layer's MoE block in safetensors.
BLOCK = re.compile(r"layers\.\d+\.(?:mlp|block_sparse_moe|feed_forward)\.")
# One expert's own tensor, and a tensor that holds all experts of a layer along its first axis.
OWN = re.compile(r"^(?P<layer>.*?\.?layers\.\d+\.).*?experts\.(?P<expert>\d+)\.(?P<part>.+)$")
STACKED = re.compile(
    r"^(?P<layer>blk\.\d+\.)(?P<part>ffn_(?:gate|up|down|gate_up)_exps\.\w+)$"
    r"|^(?P<layer2>.*?layers\.\d+\.)(?P<part2>.*?experts\.(?:gate_up_proj|down_proj)\w*)$")


class CheckFailure(Exception):
    """One check did not hold; the message says where."""


@dataclass
class Tensor:
    kind: str
    shape: tuple  # outermost first
    read: object  # () -> bytes-like


# ---------------------------------------------------------------- readers


def safetensors_files(path):
    if path.is_file():
        return [path]
    index = path / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        missing = [name for name in names if not (path / name).exists()]
        if missing:
            raise CheckFailure(f"{index.name} names {missing[0]}, which does not exist")
        return [path / name for name in names]
    if (path / "model.safetensors").exists():
        return [path / "model.safetensors"]
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise CheckFailure("no .safetensors file in it")
    return files


def open_safetensors(path):
    from safetensors import safe_open

    tensors = {}
    for file in safetensors_files(path):
        with safe_open(file, "pt") as handle:
            names = list(handle.keys())
        header_bytes = int.from_bytes(file.open("rb").read(8), "little")
        header = json.loads(np.fromfile(file, np.uint8, header_bytes, offset=8).tobytes())
        for name in names:
            if name in tensors:
                raise CheckFailure(f"{name} stands in two files")
            begin, end = header[name]["data_offsets"]

            def read(file=file, offset=8 + header_bytes + begin, count=end - begin):
                return np.fromfile(file, np.uint8, count, offset=offset)
            tensors[name] = Tensor(header[name]["dtype"], tuple(header[name]["shape"]), read)
    return tensors


def open_gguf(path):
    from gguf import GGUFReader

    split = re.match(r"(.*)-\d{5}-of-(\d{5})\.gguf$", path.name)
    files = [path]
    if split:
        count = int(split[2])
        files = [path.with_name(f"{split[1]}-{i + 1:05d}-of-{count:05d}.gguf") for i in range(count)]
    tensors = {}
    for file in files:
        for tensor in GGUFReader(file).tensors:
            if tensor.name in tensors:
                raise CheckFailure(f"{tensor.name} stands in two files")
            tensors[tensor.name] = Tensor(
                tensor.tensor_type.name, tuple(int(n) for n in reversed(tensor.shape)),
                lambda data=tensor.data: data.view(np.uint8).reshape(-1))
    return tensors


def open_checkpoint(path):
    try:
        return open_gguf(path) if path.suffix == ".gguf" else open_safetensors(path)
    except CheckFailure:
        raise
    except Exception as error:  # whatever the foreign reader throws is the finding
        raise CheckFailure(f"{type(error).__name__}: {error}") from None


# ---------------------------------------------------------------- comparison


def expert_hashes(tensors):
    """Layer to the list of experts, each a hash over everything that belongs to it."""
    parts = defaultdict(lambda: defaultdict(dict))  # layer -> expert -> part -> digest
    for name, tensor in tensors.items():
        if match := OWN.match(name):
            digest = hashlib.sha256(tensor.read()).hexdigest()
            parts[match["layer"]][int(match["expert"])][match["part"]] = digest
        elif match := STACKED.match(name):
            data = tensor.read().reshape(tensor.shape[0], -1)
            for expert, row in enumerate(data):
                digest = hashlib.sha256(np.ascontiguousarray(row)).hexdigest()
                parts[match["layer"] or match["layer2"]][expert][match["part"] or match["part2"]] = digest
    return {layer: [json.dumps(experts[e], sort_keys=True) for e in sorted(experts)]
            for layer, experts in parts.items()}


def is_expert(name):
    return bool(OWN.match(name) or STACKED.match(name))


def compare(original, output, prototype):
    """Raises CheckFailure, or says how many tensors are equal and how many experts were copied."""
    missing, extra = set(original) - set(output), set(output) - set(original)
    if prototype:  # the old gate is gone, the new router lies in the same block
        missing = {name for name in missing if not ROUTER.search(name)}
        extra = {name for name in extra if is_expert(name) or not BLOCK.search(name)}
    for names, what in ((missing, "missing"), (extra, "not in the original")):
        if names:
            raise CheckFailure(f"{len(names)} tensors {what}, first {sorted(names)[0]}")
    equal = routers = 0
    for name in sorted(set(original) & set(output)):
        a, b = original[name], output[name]
        if prototype and ROUTER.search(name):  # the encoder takes the gate's name, with another shape
            routers += 1
            continue
        widened = ROUTER.search(name) and a.kind in ("BF16", "F16") and b.kind == "F32"
        if a.shape != b.shape or (a.kind != b.kind and not widened):
            raise CheckFailure(f"{name}: {b.kind} {list(b.shape)} instead of {a.kind} {list(a.shape)}")
        if is_expert(name):
            continue
        same = np.array_equal(a.read(), b.read())
        if not same and not ROUTER.search(name):
            raise CheckFailure(f"{name}: bytes differ, and it is neither a router nor an expert")
        equal, routers = equal + same, routers + (not same)
    moved, clones = compare_experts(expert_hashes(original), expert_hashes(output))
    return f"{equal} equal, {routers} routers changed, {moved} experts moved, {clones} of them clones"


def compare_experts(original, output):
    moved = clones = 0
    for layer, experts in original.items():
        known = set(experts)
        for index, expert in enumerate(output.get(layer, [])):
            if expert not in known:
                raise CheckFailure(f"{layer}: expert {index} is no expert of this layer of the original")
            moved += expert != experts[index]
        if len(output.get(layer, [])) != len(experts):
            raise CheckFailure(f"{layer}: {len(output.get(layer, []))} experts instead of {len(experts)}")
        clones += len(experts) - len(set(output[layer])) - (len(experts) - len(known))
    return moved, clones


# ---------------------------------------------------------------- loading


def load_in_transformers(path, remote_code):
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    try:
        model, info = transformers.AutoModelForCausalLM.from_pretrained(
            path, output_loading_info=True, dtype="auto", trust_remote_code=remote_code)
    except Exception as error:
        raise CheckFailure(f"transformers: {type(error).__name__}: {error}") from None
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(key):
            raise CheckFailure(f"transformers: {len(info[key])} {key}, first {sorted(map(str, info[key]))[0]}")
    ids = torch.randint(model.get_input_embeddings().weight.shape[0], (2, 16))
    with torch.inference_mode():
        logits = model(input_ids=ids).logits
    if not torch.isfinite(logits).all():
        raise CheckFailure("transformers: logits are not finite")
    return f"transformers {transformers.__version__}, {type(model).__name__}, finite logits"


def load_in_llama(path, binaries):
    """llama-perplexity needs at least two contexts of text; the figure itself is of no interest."""
    words = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "words.txt"
        text.write_text(" ".join("".join(words.choices("abcdefghijklmnop", k=5)) for _ in range(256)))
        result = subprocess.run(
            [binaries / "llama-perplexity", "-m", path, "-f", text, "-c", "64", "-b", "64", "-t", "1",
             "--no-warmup"], capture_output=True, text=True, errors="replace")
    log = result.stdout + result.stderr
    # The running estimates: the line "Final estimate" is sometimes lost when the program ends.
    estimates = re.findall(r"\[\d+\]([\d.]+),", log)
    if result.returncode != 0 or not estimates:
        reasons = [line for line in log.splitlines() if "error" in line.lower()] or [f"exit {result.returncode}"]
        raise CheckFailure(f"llama.cpp: {reasons[0].strip()}")
    return f"llama.cpp loads it, perplexity {estimates[-1]} on random words"


# ---------------------------------------------------------------- the table


def checks(original, path, args):
    """Yields (check, passed, detail) for one output."""
    state = {}

    def opened():
        state["output"] = open_checkpoint(path)
        return f"{len(state['output'])} tensors"

    def tensors():
        if "output" not in state:
            raise CheckFailure("not opened")
        return compare(original, state["output"], prototype)

    def loads():
        if path.suffix == ".gguf":
            return load_in_llama(path, args.llama_bin)
        return load_in_transformers(path, args.trust_remote_code)

    config = path / "config.json"
    prototype = config.exists() and json.loads(config.read_text()).get("model_type", "").startswith("regate_")
    steps = [("open", opened), ("tensors", tensors)]
    if path.suffix == ".gguf":
        steps += [("loads", loads)] if args.llama_bin else []
    elif path.is_dir() and (not prototype or args.trust_remote_code):
        steps += [("loads", loads)]
    for name, step in steps:
        try:
            yield name, True, step()
        except CheckFailure as failure:
            yield name, False, str(failure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("outputs", type=Path, nargs="+")
    parser.add_argument("--llama-bin", type=Path, help="folder with llama-perplexity, for .gguf files")
    parser.add_argument("--trust-remote-code", action="store_true", help="run a prototype output's own Python code")
    args = parser.parse_args(arguments)
    try:
        original = open_checkpoint(args.original)
    except CheckFailure as failure:
        print(f"{args.original}: {failure}", file=sys.stderr)
        return 1
    width = max(len(path.name) for path in args.outputs)
    failed = 0
    for path in args.outputs:
        for name, passed, detail in checks(original, path, args):
            failed += not passed
            print(f"{path.name:<{width}}  {name:<7}  {'ok' if passed else 'FAILED':<6}  {detail}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
