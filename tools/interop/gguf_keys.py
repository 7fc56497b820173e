#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every key of a GGUF file's architecture, dropped and changed: Regate against llama-perplexity.

Changes one key of the tiny models' GGUF files at a time, adds keys that the architecture may not
read, and compares perplexity by llama.cpp's protocol, or the refusals.

  python3 tools/interop/gguf_keys.py --regate .build/release/regate --llama-bin llama-build/bin [--gguf FILE]...

Prints a table of what differs and the counts; --all prints every row. Exit code 1 where something
differs. Needs gguf and numpy.
"""

import argparse
import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
from gguf import GGUFValueType as V

from llama_log import perplexity

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
MODELS = {
    "llama": "tiny-mixtral-data/mixtral-Q4_K_M.gguf",
    "qwen3moe": "tiny-qwen3-moe-data/qwen3-moe-Q8_0.gguf",
    "deepseek2": "tiny-deepseek-data/deepseek-Q8_0.gguf",
}
# The quantised products of the two programs differ by about a tenth of it.
LIMIT = 0.005
CONTEXT = 64
YARN = {"rope.scaling.type": (V.STRING, "yarn"), "rope.scaling.factor": (V.FLOAT32, 4.0),
        "rope.scaling.original_context_length": (V.UINT32, 32)}
LINEAR = {"rope.scaling.type": (V.STRING, "linear"), "rope.scaling.factor": (V.FLOAT32, 2.0)}
# Sets of keys that are added or replaced.
ADDED = [
    YARN, LINEAR,
    YARN | {"rope.scaling.yarn_beta_fast": (V.FLOAT32, 4.0)}, YARN | {"rope.scaling.yarn_beta_slow": (V.FLOAT32, 3.0)},
    YARN | {"rope.scaling.yarn_log_multiplier": (V.FLOAT32, 0.07)},
    YARN | {"rope.scaling.yarn_ext_factor": (V.FLOAT32, 0.5)},
    YARN | {"rope.scaling.yarn_attn_factor": (V.FLOAT32, 0.5)},
    YARN | {"rope.scaling.attn_factor": (V.FLOAT32, 0.8)}, LINEAR | {"rope.scaling.attn_factor": (V.FLOAT32, 0.8)},
    LINEAR | {"rope.scaling.yarn_log_multiplier": (V.FLOAT32, 0.07)},
    YARN | {"rope.scaling.original_context_length": (V.UINT32, 0)},
    {"rope.scaling.type": (V.STRING, "none"), "rope.scaling.factor": (V.FLOAT32, 2.0)},
    {"rope.scaling.factor": (V.FLOAT32, 2.0)}, {"rope.scaling.factor": (V.FLOAT32, 0.0)},
    {"rope.scale_linear": (V.FLOAT32, 2.0)},
    {"rope.scale_linear": (V.FLOAT32, 2.0), "rope.scaling.factor": (V.FLOAT32, 0.0)},
    {"rope.freq_base": (V.FLOAT32, 500.0)}, {"rope.dimension_count": (V.UINT32, 4)},
    {"expert_feed_forward_length": (V.UINT32, 8)}, {"expert_weights_norm": (V.BOOL, True)},
    {"expert_weights_norm": (V.BOOL, False)}, {"expert_weights_scale": (V.FLOAT32, 2.0)},
    {"expert_weights_scale": (V.FLOAT32, 0.0)}, {"expert_gating_func": (V.UINT32, 1)},
    {"expert_gating_func": (V.UINT32, 2)}, {"expert_gating_func": (V.UINT32, 0)},
    {"expert_group_count": (V.UINT32, 2), "expert_group_used_count": (V.UINT32, 1)},
    {"expert_group_count": (V.UINT32, 2), "expert_group_used_count": (V.UINT32, 2)},
    {"expert_group_count": (V.UINT32, 1), "expert_group_used_count": (V.UINT32, 1)},
    {"attention.causal": (V.BOOL, False)}, {"attention.clamp_kqv": (V.FLOAT32, 0.1)},
    {"attention.scale": (V.FLOAT32, 0.5)}, {"attention.sliding_window": (V.UINT32, 8)},
    {"attention.temperature_scale": (V.FLOAT32, 0.1)}, {"attention.layer_norm_rms_epsilon": (V.FLOAT32, 0.5)},
    {"logit_scale": (V.FLOAT32, 2.0)}, {"residual_scale": (V.FLOAT32, 2.0)}, {"leading_dense_block_count": (V.UINT32, 0)},
    {"nextn_predict_layers": (V.UINT32, 0)},
]


def rewrite(source, target, keys, drop):
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    keys = {f"{arch}.{name}": value for name, value in keys.items()}
    writer = gguf.GGUFWriter(target, arch)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture" or field.name in (drop, *keys):
            continue
        sub = field.types[-1] if field.types[0] == V.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)
    for name, (kind, value) in keys.items():
        writer.add_key_value(name, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def in_llama(binary, model, text):
    result = subprocess.run(
        [binary / "llama-perplexity", "-m", model, "-f", text, "-c", str(CONTEXT), "-b", str(CONTEXT), "-t", "2"],
        capture_output=True, text=True)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line or "ASSERT" in line]
        return None, (lines or ["stops"])[0][-110:]
    found = perplexity(result.stdout + result.stderr)
    # The program may end before its log has written anything.
    return (found, "") if found is not None else in_llama(binary, model, text)


def in_regate(binary, model, text):
    result = subprocess.run(
        [binary, "validate", model, model,
         "--precision", "f32", "--calibration", text, "--length", str(CONTEXT), "--ppl-protocol", "llama",
         "--json", "--quiet"], capture_output=True, text=True)
    if result.returncode != 0:
        return None, result.stderr.strip().splitlines()[-1].replace(str(model), "GGUF")
    return json.loads(result.stdout)["perplexity"]["original"], ""


def changes(source):
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    yield "unchanged", {}, None
    for name in reader.fields:
        if name.startswith(arch + "."):
            yield f"{name.removeprefix(arch + '.')} dropped", {}, name
    for keys in ADDED:
        what = ", ".join(f"{name} {value}" for name, (_, value) in keys.items())
        yield what, keys, None


def verdict(theirs, ours):
    if theirs is None or ours is None:
        return "both refuse" if theirs is ours else "regate refuses" if ours is None else "ONLY REGATE RUNS"
    return "same" if abs(ours / theirs - 1) <= LIMIT else "DIFFERENT"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--regate", type=Path, required=True)
    parser.add_argument("--llama-bin", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, action="append", help="these in the place of the tiny models' files")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    text, failed = FIXTURES / "tiny-text" / "heldout.txt", False
    sources = {str(path): path for path in options.gguf or []} or {
        arch: FIXTURES / name for arch, name in MODELS.items()}
    for arch, source in sources.items():
        counts = collections.Counter()
        print(f"\n## {arch}\n\n| change | | llama.cpp | Regate |\n|---|---|---|---|", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            model = Path(scratch) / "changed.gguf"
            for what, keys, drop in changes(source):
                rewrite(source, model, keys, drop)
                theirs, why = in_llama(options.llama_bin, model, text)
                ours, ours_why = in_regate(options.regate.resolve(), model, text)
                word = verdict(theirs, ours)
                counts[word] += 1
                failed |= word.isupper()
                if options.all or word.isupper() or word == "regate refuses":
                    print(f"| {what} | {word} | {theirs if theirs is not None else why} |"
                          f" {f'{ours:.4f}' if ours is not None else ours_why} |", flush=True)
        print("\n" + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
