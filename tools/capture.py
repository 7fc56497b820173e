#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Record the router inputs of a Mixture-of-Experts model into a Regate capture file.

Needs torch, transformers (4.4x or 5), numpy. Any transformers model works whose router lies at
`layers.N.{mlp,block_sparse_moe,feed_forward,mixer}.{gate,router}`, or is the linear map in it, or at
`layers.N.router.proj`: Mixtral, Qwen, DeepSeek, Kimi, OLMoE, GLM, GPT-OSS, Phi-3.5-MoE, ERNIE-4.5,
MiniMax, Nemotron-H, LFM2-MoE, Llama-4, Gemma-4 and others. Layers whose experts a table of token ids
chooses (DeepSeek-V4's first) are left out.

The capture file (format `regate.capture.v1`) is one safetensors file:

1. `token_ids`               I32 [S, L]  the token ids of S sequences, -1 where there is padding.
2. `layers.{i}.router_input` [T, H]      F32, F16 or BF16: what the router of layer i read, one
                             row per token. Rows follow `token_ids` in reading order with
                             padding left out, so T is the number of ids that are not -1.
                             i is the model's layer number; dense layers do not appear.
3. `__metadata__` (strings)
   format             regate.capture.v1
   model_fingerprint  see below
   weights_layout, weights_sample   see below; only for checkpoints in safetensors
   model_type         the config's model_type
   model, source      the names (no folders) of the checkpoint and of the calibration file
   sequences, tokens  S and T in decimal
   compute_dtype, transformers, torch   how the numbers were made

model_fingerprint is the SHA-256, in lower-case hexadecimal, of the gates as they lie in the
checkpoint, so that a capture is not used with another model. For every MoE layer that
transformers runs (no multi-token-prediction layers, none that chooses by a table), in ascending
order, two things are hashed:
the ASCII line `layers.{i}.router {E} {H}\\n`, and the gate weight [E, H], row-major, as
little-endian float32. Widening BF16 and F16 is exact, hence a BF16 checkpoint, its F32 copy and
the GGUF made of it (which stores gates in F32) have the same fingerprint. Biases are not hashed.

weights_layout and weights_sample tell a fine-tune that left the gates alone from its base, whatever
the shards. Tensors are taken in the order of their names' bytes.

- weights_layout is the SHA-256 over one line `{name} {dtype} {d0},{d1},..\n` for each.
- weights_sample is the SHA-256 over samples of their bytes. Tensors whose names differ only in
  numbers are one group; of a group of n > 512 those at places i * n // 512 are sampled, of a smaller
  one all. A tensor of B bytes has c = min(8, 1 + B // 2**26) samples of at most 4096 bytes, from byte
  B // (2 * c) * (2 * i + 1) on.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import sys
import textwrap
from pathlib import Path

import numpy as np

ROUTER = re.compile(
    r"(?:^|\.)layers\.(\d+)\.(?:(?:mlp|block_sparse_moe|feed_forward|mixer)\.(?:gate|router)|router\.proj)$")
# The linear map of a router that is no matrix itself.
MAPS = ("gate", "wg")
ELEMENT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
PADDING = -1

EXAMPLES = """examples:
  # 512 sequences of 1024 tokens from a text file (one document) or JSON lines (one per line)
  capture.py Qwen/Qwen3-30B-A3B corpus.jsonl -o qwen3.capture.safetensors \\
      --length 1024 --sequences 512 --dtype bf16 --device auto

  # token ids [S, L] that lie in a numpy file, in float32 arithmetic on the CPU
  capture.py ./model calibration.npy -o calibration.safetensors --float32

  # a random choice of 100 sequences, the same for the same seed
  capture.py ./model corpus.txt -o capture.safetensors --sequences 100 --seed 7
"""


class CaptureError(Exception):
    """Something is wrong with an input file or the model; the message is one line."""


# ---------------------------------------------------------------- token sequences


def sequences_from_array(ids, name, pad_id):
    """[S, L] or [L] integers to a list of sequences; negative ids and `pad_id` are padding."""
    ids = np.asarray(ids)
    if ids.dtype.kind not in "iu":
        raise CaptureError(f"{name}: token ids must be integers, found {ids.dtype}")
    if ids.ndim not in (1, 2):
        raise CaptureError(f"{name}: token ids must have shape [S, L] or [L], found {list(ids.shape)}")
    rows = np.atleast_2d(ids).astype(np.int64)
    return [row[(row >= 0) & (row != pad_id)] if pad_id is not None else row[row >= 0] for row in rows]


def only_integer_array(arrays, name):
    """`token_ids` or `input_ids` where present, else the single integer array of the file."""
    for key in ("token_ids", "input_ids"):
        if key in arrays:
            return arrays[key]
    candidates = [key for key, value in arrays.items() if value.dtype.kind in "iu"]
    if len(candidates) != 1:
        raise CaptureError(
            f"{name}: expected an array named token_ids, or exactly one integer array, "
            f"found {', '.join(sorted(arrays)) or 'nothing'}")
    return arrays[candidates[0]]


def documents(path, field):
    """The documents of a .txt (one) or .jsonl (one per line) file, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    with opener(path, "rt", encoding="utf-8") as file:
        if kind != ".jsonl":
            yield file.read()
            return
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                text = json.loads(line)[field]
            except (ValueError, KeyError, TypeError):
                raise CaptureError(f"{path.name}: line {number}: no JSON object with the key '{field}'") from None
            if not isinstance(text, str):
                raise CaptureError(f"{path.name}: line {number}: '{field}' is not a string")
            yield text


def read_sequences(args, load_tokenizer):
    """All sequences of the calibration file, each at most --length long, none empty."""
    path = Path(args.calibration)
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    length = args.length
    if kind == ".npy":
        rows = sequences_from_array(np.load(path), path.name, args.pad_id)
    elif kind == ".npz":
        rows = sequences_from_array(only_integer_array(dict(np.load(path)), path.name), path.name, args.pad_id)
    elif kind == ".safetensors":
        from safetensors.numpy import load_file

        rows = sequences_from_array(only_integer_array(load_file(path), path.name), path.name, args.pad_id)
    elif kind in (".txt", ".jsonl"):
        tokenizer = load_tokenizer()
        length = length or 512
        rows = (np.asarray(tokenizer(text)["input_ids"], np.int64) for text in documents(path, args.field))
    else:
        raise CaptureError(f"{path.name}: unknown kind of calibration file; "
                           "use .npy, .npz, .safetensors, .txt or .jsonl")
    pieces, tokens = [], 0
    for row in rows:
        step = length or max(len(row), 1)
        pieces += [row[start:start + step] for start in range(0, len(row), step)]
        tokens += len(row)
        # Without a seed the first sequences are taken, so there is no need to tokenise the rest.
        enough = len(pieces) >= (args.sequences or sys.maxsize) or tokens >= (args.max_tokens or sys.maxsize)
        if args.seed is None and enough:
            break
    return choose(pieces, args)


def choose(pieces, args):
    """The first sequences, or with --seed a random choice, within --sequences and --max-tokens."""
    order = np.arange(len(pieces))
    if args.seed is not None:
        order = np.random.default_rng(args.seed).permutation(len(pieces))
    chosen, left = [], args.max_tokens or sys.maxsize
    for index in order[:args.sequences]:
        if left == 0:
            break
        chosen.append(pieces[index][:left])
        left -= len(chosen[-1])
    if not chosen:
        raise CaptureError(f"{args.calibration}: no token in it")
    return chosen


# ---------------------------------------------------------------- the model


def load_model(args):
    import torch
    import transformers
    from transformers import AutoConfig, DeepseekV3Config, PretrainedConfig

    options = {"trust_remote_code": args.trust_remote_code}
    values, _ = PretrainedConfig.get_config_dict(args.model)
    if values.get("model_type") == "kimi_k2" and not args.trust_remote_code:
        # Kimi-K2 is DeepSeek-V3 under another name, which transformers does not know.
        config = DeepseekV3Config.from_dict({**values, "model_type": "deepseek_v3"})
    else:
        config = AutoConfig.from_pretrained(args.model, **options)
    # The argument was renamed in transformers 4.56.
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    options["dtype" if version >= (4, 56) else "torch_dtype"] = "auto"
    if args.device == "auto":
        options["device_map"] = "auto"
    model = auto_class(config).from_pretrained(args.model, config=config, **options)
    if args.device != "auto":
        model = model.to(torch.device(args.device))
    return model.eval()


def auto_class(config):
    """Models that see pictures are not all known by their language model alone."""
    import transformers

    wrapper = getattr(transformers, "AutoModelForImageTextToText", None)
    known = (kind._model_mapping for kind in (transformers.AutoModelForCausalLM, wrapper) if kind)
    found = [type(config) in mapping for mapping in known]
    return wrapper if found == [False, True] else transformers.AutoModelForCausalLM


def find_routers(model):
    """Layer number to (the module whose input the router reads, gate weight), ascending: the MoE block,
    or the gate itself where it reads what no other does."""
    modules = dict(model.named_modules())
    routers = {}
    for name, module in modules.items():
        match = ROUTER.search(name)
        if not match or hasattr(module, "tid2eid"):
            continue
        maps = [module, *(getattr(module, name, None) for name in MAPS)]
        weight = next((part.weight for part in maps if hasattr(part, "weight")), None)
        if weight is not None and weight.ndim == 2:
            own = name.endswith(".router.proj")
            routers[int(match.group(1))] = (module if own else modules[name.rpartition(".")[0]], weight)
    if not routers:
        raise CaptureError(f"{type(model).__name__} has no router at layers.N.mlp.gate or a known variant; "
                           "this does not look like a Mixture-of-Experts model")
    return dict(sorted(routers.items()))


def fingerprint(routers):
    """SHA-256 over the gates; the exact bytes are defined at the top of this file."""
    digest = hashlib.sha256()
    for layer, (_, weight) in routers.items():
        digest.update(f"layers.{layer}.router {weight.shape[0]} {weight.shape[1]}\n".encode("ascii"))
        digest.update(weight.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def weight_files(model):
    """The safetensors files that hold the weights of a folder or of a downloaded model."""
    folder = Path(model)
    if not folder.is_dir():
        from transformers.utils import cached_file

        folder = Path(cached_file(model, "config.json")).parent
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists():
        return [folder / "model.safetensors"]
    if index.exists():
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        return [folder / name for name in sorted(set(names))]
    return sorted(folder.glob("*.safetensors"))


def weights_identity(files):
    """`weights_layout` and `weights_sample`, as defined at the top of this file; nothing without files."""
    tensors = []
    for path in files:
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            start, end = entry["data_offsets"]
            tensors.append((name.encode(), entry, path, 8 + length + start, end - start))
    if not tensors:
        return {}
    tensors.sort(key=lambda tensor: tensor[0])
    layout, groups = hashlib.sha256(), {}
    for number, (name, entry, *_) in enumerate(tensors):
        layout.update(name + f" {entry['dtype']} {','.join(map(str, entry['shape']))}\n".encode())
        groups.setdefault(re.sub(rb"[0-9]+", b"#", name), []).append(number)
    chosen = []
    for group in groups.values():
        count = min(len(group), 512)
        chosen += [group[place * len(group) // count] for place in range(count)]
    sample = hashlib.sha256()
    for number in sorted(chosen):
        _, _, path, start, size = tensors[number]
        count = min(8, 1 + size // 2**26)
        with open(path, "rb") as file:
            for place in range(count):
                offset = size // (2 * count) * (2 * place + 1)
                file.seek(start + offset)
                sample.update(file.read(min(4096, size - offset)))
    return {"weights_layout": layout.hexdigest(), "weights_sample": sample.hexdigest()}


# ---------------------------------------------------------------- the capture file


def is_capture(path):
    """Whether a capture, and no link or device, stands at `path`."""
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, 100_000_000)))
            return header["__metadata__"]["format"].startswith("regate.capture.v")
        except (ValueError, KeyError, TypeError, AttributeError):
            return False


class CaptureFile:
    """A safetensors file of known shapes that is filled batch by batch, so that nothing is held."""

    def __init__(self, path, dtype, layers, tokens, token_ids, metadata):
        self.path, self.dtype, self.tokens = Path(path), dtype, tokens
        self.partial = self.path.with_name(self.path.name + ".partial")
        header, end = {"__metadata__": metadata}, token_ids.nbytes
        header["token_ids"] = {"dtype": "I32", "shape": list(token_ids.shape), "data_offsets": [0, end]}
        self.row_bytes, self.start, self.written = {}, {}, dict.fromkeys(layers, 0)
        for layer, hidden in layers.items():
            self.row_bytes[layer], self.start[layer] = hidden * ELEMENT_BYTES[dtype], end
            end += tokens * self.row_bytes[layer]
            header[f"layers.{layer}.router_input"] = {
                "dtype": dtype, "shape": [tokens, hidden], "data_offsets": [self.start[layer], end]}
        encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        encoded += b" " * (-len(encoded) % 8)
        self.data = 8 + len(encoded)
        self.file = open(self.partial, "w+b")
        self.file.write(len(encoded).to_bytes(8, "little") + encoded + token_ids.tobytes())
        self.file.truncate(self.data + end)

    def append(self, layer, rows):
        import torch

        stored = rows.to({"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[self.dtype])
        if not torch.isfinite(stored).all():
            largest = rows.abs().max().item()
            raise CaptureError(f"layer {layer}: a router input of magnitude {largest:g} is not finite "
                               f"in {self.dtype}; use --dtype bf16 or f32")
        data = stored.contiguous().cpu().view(torch.uint8).numpy().tobytes()
        self.file.seek(self.data + self.start[layer] + self.written[layer] * self.row_bytes[layer])
        self.file.write(data)
        self.written[layer] += len(rows)

    def finish(self):
        for layer, rows in self.written.items():
            if rows != self.tokens:
                raise CaptureError(f"layer {layer}: its router saw {rows} of {self.tokens} tokens; "
                                   "the model does not call this block once per token")
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        os.replace(self.partial, self.path)

    def discard(self):
        self.file.close()
        self.partial.unlink(missing_ok=True)


# ---------------------------------------------------------------- the run


def run(model, routers, sequences, batch, output):
    """Right-pads each batch (causal models never look right) and writes the real tokens' rows."""
    import torch

    device = model.get_input_embeddings().weight.device
    kept = None  # [batch * L] Bool: the rows of this batch that are tokens

    def hook(layer):
        def record(_, positional, named):
            hidden = positional[0] if positional else named["hidden_states"]
            rows = hidden.detach().reshape(-1, hidden.shape[-1])
            output.append(layer, rows[kept.to(rows.device)])
        return record

    handles = [block.register_forward_pre_hook(hook(layer), with_kwargs=True)
               for layer, (block, _) in routers.items()]
    try:
        done, total = 0, sum(map(len, sequences))
        for start in range(0, len(sequences), batch):
            rows = sequences[start:start + batch]
            ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for index, row in enumerate(rows):
                ids[index, :len(row)] = torch.from_numpy(row)
                mask[index, :len(row)] = 1
            kept = mask.reshape(-1).bool()
            with torch.inference_mode():
                model.base_model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
            done += int(mask.sum())
            if sys.stderr.isatty():
                end = "\n" if done == total else ""
                print(f"\r{done} of {total} tokens", end=end, file=sys.stderr, flush=True)
    finally:
        for handle in handles:
            handle.remove()


def capture(args):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    output = Path(args.output)
    if os.path.lexists(output):
        if not args.overwrite:
            raise CaptureError(f"{output} exists already; give --overwrite to replace it")
        if not is_capture(output):
            raise CaptureError(f"{output} is no capture; choose another output")
    if not output.parent.is_dir():
        raise CaptureError(f"{output.parent} is not a folder")

    def load_tokenizer():
        return transformers.AutoTokenizer.from_pretrained(
            args.model, trust_remote_code=args.trust_remote_code)

    sequences = read_sequences(args, load_tokenizer)
    model = load_model(args)
    routers = find_routers(model)
    identity = fingerprint(routers)
    if args.float32:
        model = model.float()

    vocabulary = model.get_input_embeddings().weight.shape[0]
    largest = max(int(row.max()) for row in sequences)
    if largest >= vocabulary:
        raise CaptureError(f"{args.calibration}: token id {largest}, but the model's vocabulary has "
                           f"{vocabulary} entries; it was made with another tokenizer")
    token_ids = np.full((len(sequences), max(map(len, sequences))), PADDING, "<i4")
    for index, row in enumerate(sequences):
        token_ids[index, :len(row)] = row
    tokens = sum(map(len, sequences))
    metadata = {
        "format": "regate.capture.v1",
        "model_fingerprint": identity,
        **weights_identity(weight_files(args.model)),
        "model_type": model.config.model_type,
        "model": Path(args.model).name,
        "source": Path(args.calibration).name,
        "sequences": str(len(sequences)),
        "tokens": str(tokens),
        "compute_dtype": str(model.dtype).removeprefix("torch."),
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    hidden = {layer: weight.shape[1] for layer, (_, weight) in routers.items()}
    file = CaptureFile(output, args.dtype.upper(), hidden, tokens, token_ids, metadata)
    try:
        run(model, routers, sequences, args.batch, file)
        file.finish()
    except BaseException:
        file.discard()
        raise
    print(f"{output}: {len(sequences)} sequences, {tokens} tokens, {len(routers)} MoE layers, "
          f"{args.dtype.upper()}, {output.stat().st_size} bytes")


def positive(text):
    value = int(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="capture.py", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Record the router inputs of a Mixture-of-Experts model into a Regate capture file.")
    parser.add_argument("model", help="checkpoint folder, or a model's name on the Hugging Face hub")
    parser.add_argument("calibration", help="token ids (.npy, .npz, .safetensors with [S, L] integers) or "
                        "text (.txt: one document; .jsonl: one per line), text also as .gz")
    parser.add_argument("-o", "--output", required=True, help="the capture file to write (.safetensors)")
    parser.add_argument("--dtype", choices=("f32", "f16", "bf16"), default="f32",
                        help="how router inputs are stored (default f32)")
    parser.add_argument("--sequences", type=positive, metavar="N", help="at most N sequences")
    parser.add_argument("--max-tokens", type=positive, metavar="N", help="at most N tokens in all")
    parser.add_argument("--length", type=positive, metavar="L",
                        help="cut documents and rows into sequences of L tokens "
                        "(default: 512 for text, rows as they are for token ids)")
    parser.add_argument("--batch", type=positive, default=8, metavar="N", help="sequences per step (default 8)")
    parser.add_argument("--seed", type=int, metavar="N",
                        help="choose sequences at random with this seed (default: the first ones)")
    parser.add_argument("--field", default="text", metavar="KEY", help="the key of .jsonl text (default text)")
    parser.add_argument("--pad-id", type=int, metavar="ID",
                        help="token id that is padding in id arrays (negative ids always are)")
    parser.add_argument("--device", default="cpu",
                        help="cpu (default), cuda, cuda:1, mps, or auto (spread over devices; needs accelerate)")
    parser.add_argument("--float32", action="store_true",
                        help="compute in float32 instead of the checkpoint's dtype")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the checkpoint's own Python code")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output file")
    return parser.parse_args(arguments)


def main(arguments=None):
    args = parse_arguments(arguments)
    try:
        capture(args)
    except (CaptureError, OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if os.environ.get("REGATE_CAPTURE_TRACEBACK"):
            raise
        text = textwrap.shorten(str(error), 500, placeholder=" ...")
        print(f"capture.py: error: {text}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("capture.py: interrupted, nothing written", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
