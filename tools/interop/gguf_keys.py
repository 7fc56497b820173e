#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every key of a GGUF file's architecture, dropped and changed: Regate against llama-perplexity.

Changes one key of the tiny models' GGUF files at a time, adds keys that the architecture may not
read, and compares perplexity by llama.cpp's protocol, or the refusals.

  python3 tools/interop/gguf_keys.py --regate .build/release/regate --llama-bin llama-build/bin [--gguf FILE]...
  python3 tools/interop/gguf_keys.py ... --llama-cpp SOURCE [--family NAME]...

With llama.cpp's source the files are what its converter makes of random models of every family that
Regate runs from GGUF files. Prints a table of what differs and the counts; --all prints every row.
Exit code 1 where something differs. Needs gguf and numpy, for the families also what
test_families.py needs.
"""

import argparse
import collections
import json
import os
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
# Of files of plain floats, of which the two programs' perplexities agree to seven digits.
LIMIT = 1e-5
# The quantised products of the two programs differ by about a tenth of it, and less than half of it GELU, which is
# a table of halves in llama.cpp.
COARSE = 0.005
CONTEXT = 64
# Seconds for a run, which takes less than one: some values make llama.cpp go on for ever.
PATIENCE = 30
# Of the text, eleven contexts of the tiny models' tokens and more, where that is exact enough.
CHARACTERS = 1300
# Families beside those of test_families.py, and what llama.cpp's converter wants beside transformers' keys.
FAMILIES = {"deepseek_v2": {}, "glm4_moe_lite": dict(
    scoring_func="sigmoid", topk_method="noaux_tc", num_key_value_heads=4, first_k_dense_replace=1,
    mlp_layer_types=["dense", "sparse", "sparse"])}
YARN = {"rope.scaling.type": (V.STRING, "yarn"), "rope.scaling.factor": (V.FLOAT32, 4.0),
        "rope.scaling.original_context_length": (V.UINT32, 32)}
LINEAR = {"rope.scaling.type": (V.STRING, "linear"), "rope.scaling.factor": (V.FLOAT32, 2.0)}


def first(layers):
    """A list of which the first layer has another value than the others."""
    return [layer == 0 for layer in range(layers)]


def falling(layers):
    """A list of which the last layer has the smallest number."""
    return [2 - (layer == layers - 1) for layer in range(layers)]


PER_LAYER = {"expert_used_count", "feed_forward_length", "expert_feed_forward_length", "attention.head_count",
             "attention.head_count_kv"}
# Sets of keys that are added or replaced; functions make lists for a number of layers.
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
    # Read for every architecture, or for one that has what the key is of.
    {"rope.scaling.type": (V.STRING, "longrope"), "rope.scaling.factor": (V.FLOAT32, 2.0)},
    {"rope.scaling.alpha": (V.FLOAT32, 2.0)}, {"rope.scaling.finetuned": (V.BOOL, False)},
    {"rope.scaling.finetuned": (V.BOOL, True)}, {"embedding_length_out": (V.UINT32, 8)},
    {"pooling_type": (V.UINT32, 1)}, {"classifier.pooling_type": (V.UINT32, 1)}, {"vocab_size": (V.UINT32, 8)},
    {"attention.key_length_swa": (V.UINT32, 4)}, {"attention.value_length_swa": (V.UINT32, 4)},
    {"rope.dimension_count_swa": (V.UINT32, 4)}, {"rope.freq_base_swa": (V.FLOAT32, 500.0)},
    {"rope.dimension_sections": (V.INT32, [1, 1, 0, 0])}, {"rope.dimension_sections": (V.INT32, [1, 0, 0, 1])},
    {"rope.dimension_sections": (V.INT32, [0, 0, 0, 0])}, {"rope.dimension_sections": (V.INT32, [1, 1])},
    {"attention.sliding_window_pattern": (V.UINT32, 1)}, {"attention.sliding_window_pattern": (V.UINT32, 0)},
    {"attention.sliding_window_pattern": (V.UINT32, 3)}, {"attention.sliding_window_pattern": (V.BOOL, first)},
    {"attention.sliding_window": (V.UINT32, 8), "attention.sliding_window_pattern": (V.UINT32, 2)},
    {"attention.sliding_window": (V.UINT32, 0)}, {"attention.shared_kv_layers": (V.UINT32, 1)},
    {"attention.recurrent_layers": (V.BOOL, first)}, {"attention.recurrent_layers": (V.INT32, first)},
    {"full_attention_interval": (V.UINT32, 3)}, {"interleave_moe_layer_step": (V.UINT32, 2)},
    {"leading_dense_block_count": (V.UINT32, 2)}, {"expert_shared_count": (V.UINT32, 2)},
    {"expert_shared_feed_forward_length": (V.UINT32, 8)}, {"expert_used_count": (V.INT32, falling)},
    {"attention.temperature_scale": (V.FLOAT32, 0.1), "attention.temperature_length": (V.UINT32, 8)},
    {"attention.temperature_length": (V.UINT32, 8)}, {"attention.indexer.types": (V.BOOL, first)},
    {"n_deepstack_layers": (V.UINT32, 2)}, {"deepstack_mapping": (V.INT32, falling)},
    {"embedding_length_per_layer_input": (V.UINT32, 8)}, {"final_logit_softcapping": (V.FLOAT32, 3.0)},
    {"attn_logit_softcapping": (V.FLOAT32, 0.5)}, {"router_logit_softcapping": (V.FLOAT32, 0.5)},
    {"embedding_scale": (V.FLOAT32, 2.0)}, {"embedding_scale": (V.FLOAT32, 0.0)}, {"residual_scale": (V.FLOAT32, 0.0)},
    {"attention.scale": (V.FLOAT32, 0.0)}, {"attention.output_scale": (V.FLOAT32, 2.0)},
    {"attention.value_scale": (V.FLOAT32, 2.0)}, {"attention.layer_norm_epsilon": (V.FLOAT32, 0.5)},
    {"attention.max_alibi_bias": (V.FLOAT32, 8.0)}, {"attention.rope_pattern": (V.BOOL, first)},
    {"swiglu_clamp_exp": (V.FLOAT32, lambda layers: [0.01] * layers)},
    {"swiglu_clamp_shexp": (V.FLOAT32, lambda layers: [0.01] * layers)},
    {"expert_group_scale": (V.FLOAT32, 2.0)}, {"experts_per_group": (V.UINT32, 2)},
    {"expert_gating_func": (V.UINT32, 3)}, {"expert_gating_func": (V.UINT32, 4)},
    {"hidden_activation": (V.STRING, "gelu")}, {"use_parallel_residual": (V.BOOL, True)},
    {"num_loops": (V.UINT32, 2)}, {"tensor_data_layout": (V.STRING, "Meta AI original pth")},
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
        if isinstance(value, list):
            writer.add_key_value(name, value, V.ARRAY, sub_type=kind)
        else:
            writer.add_key_value(name, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.ascontiguousarray(tensor.data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def in_llama(binary, model, text, tries=10):
    command = [binary / "llama-perplexity", "-m", model, "-f", text, "-c", str(CONTEXT), "-b", str(CONTEXT), "-t", "1",
               "--no-warmup", "-ctk", "f32", "-ctv", "f32", "-fa", "off"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return None, f"no end in {PATIENCE} s"
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if "error" in line or "ASSERT" in line]
        return None, (lines or ["stops"])[0][-110:]
    found = perplexity(result.stdout + result.stderr)
    # The program may end before its log has written anything, and writes none of what is no number.
    if found is None and tries > 1:
        return in_llama(binary, model, text, tries - 1)
    return (found, "") if found is not None else (None, "no perplexity")


def in_regate(binary, model, text):
    result = subprocess.run(
        [binary, "validate", model, model,
         "--precision", "f32", "--calibration", text, "--length", str(CONTEXT), "--ppl-protocol", "llama",
         "--threads", "1", "--json", "--quiet"], capture_output=True, text=True, timeout=2 * PATIENCE)
    if result.returncode != 0:
        return None, result.stderr.strip().splitlines()[-1].replace(str(model), "GGUF")
    return json.loads(result.stdout)["perplexity"]["original"], ""


def altered(name, field, layers):
    """Other values of a key that is there."""
    kind, value = field.types[0], field.contents()
    if kind == V.ARRAY:
        own, last = field.types[-1], value[-1]
        if own != V.STRING:
            yield own, [not value[0] if own == V.BOOL else value[0] + 1, *value[1:]]
            yield own, [*value[:-1], not last if own == V.BOOL else max(last - 1, 0)]
            yield own, value[:-1]
    elif kind == V.BOOL:
        yield kind, not value
    elif kind == V.FLOAT32:
        yield from ((kind, 2 * value), (kind, 0.0))
    elif kind == V.UINT32:
        yield from ((kind, number) for number in (value + 1, 0) if number != value)
        if name in PER_LAYER:
            yield from ((V.INT32, [value] * layers), (V.INT32, [value] * (layers - 1) + [max(value - 1, 0)]))
            yield V.INT32, [max(value - 1, 0)] + [value] * (layers - 1)


def changes(source):
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    layers = reader.fields[f"{arch}.block_count"].contents()
    own = {name.removeprefix(arch + "."): field for name, field in reader.fields.items() if name.startswith(arch + ".")}
    yield "unchanged", {}, None
    for name, field in own.items():
        yield f"{name} dropped", {}, f"{arch}.{name}"
        for kind, value in altered(name, field, layers):
            yield f"{name} {value} for {field.contents()}", {name: (kind, value)}, None
    for keys in ADDED:
        keys = {name: (kind, value(layers) if callable(value) else value) for name, (kind, value) in keys.items()}
        what = ", ".join(f"{name} {value}" for name, (_, value) in keys.items())
        yield what, keys, None


def limit(source):
    reader = gguf.GGUFReader(source)
    plain = {gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.BF16}
    is_exact = all(tensor.tensor_type in plain for tensor in reader.tensors)
    return LIMIT if is_exact and reader.fields["general.architecture"].contents() != "gemma4" else COARSE


def verdict(theirs, ours, limit):
    if theirs is None or ours is None:
        return "both refuse" if theirs is ours else "regate refuses" if ours is None else "ONLY REGATE RUNS"
    return "same" if abs(ours / theirs - 1) <= limit else "DIFFERENT"


def converted(names, source, scratch):
    """Random models of families, and what llama.cpp's converter makes of them."""
    os.environ["LLAMA_CPP"] = str(source)
    import test_families

    known = test_families.GGUF | FAMILIES
    for name in names or known:
        folder = scratch / name
        folder.mkdir()
        model = test_families.gguf_of(name, known[name], folder)
        # Products with MXFP4 are of activations in 8 bits there.
        yield name, test_families.in_float32(model) if name == "gpt_oss" else model


def sources_of(options, scratch):
    if options.gguf:
        return ((str(path), path) for path in options.gguf)
    if options.llama_cpp:
        return converted(options.family, options.llama_cpp, scratch)
    return ((arch, FIXTURES / name) for arch, name in MODELS.items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--regate", type=Path, required=True)
    parser.add_argument("--llama-bin", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, action="append", help="these in the place of the tiny models' files")
    parser.add_argument("--llama-cpp", type=Path, help="its source: random models by its converter in their place")
    parser.add_argument("--family", action="append", help="these of the random models only")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        model, part, whole = scratch / "changed.gguf", scratch / "text.txt", FIXTURES / "tiny-text" / "heldout.txt"
        part.write_text(whole.read_text()[:CHARACTERS])
        for title, source in sources_of(options, scratch):
            counts, most = collections.Counter(), limit(source)
            text = part if most == LIMIT else whole
            print(f"\n## {title}\n\n| change | | llama.cpp | Regate |\n|---|---|---|---|", flush=True)
            for what, keys, drop in changes(source):
                rewrite(source, model, keys, drop)
                theirs, why = in_llama(options.llama_bin, model, text)
                ours, ours_why = in_regate(options.regate.resolve(), model, text)
                word = verdict(theirs, ours, most)
                counts[word] += 1
                failed |= word.isupper()
                if options.all or word.isupper() or word == "regate refuses":
                    print(f"| {what} | {word} | {theirs if theirs is not None else why} |"
                          f" {f'{ours:.4f}' if ours is not None else ours_why} |", flush=True)
            print("\n" + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
