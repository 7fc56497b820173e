#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every kind of tensor and every key of every family dropped, renamed, reshaped, nulled and retyped:
`regate check` against what transformers and llama.cpp really do.

Builds small models of random weights with transformers' classes, changes one thing at a time, loads
the result with from_pretrained and runs seven tokens. GGUF files are made of the tiny GGUF fixtures
and of these models by llama.cpp's converter, and loaded by llama-perplexity.

  python3 tools/interop/check_mutations.py --regate .build/release/regate [--type NAME]...
  python3 tools/interop/check_mutations.py --regate ... --llama-bin BIN [--llama-cpp SOURCE] [--gguf FILE]...
  python3 tools/interop/check_mutations.py --parameters

The last prints what the classes write, which Tests/RegateKitTests/ClassSamples.swift has.
Prints what disagrees and the counts; exit code 1 where `check` says that something loads which does
not, or the reverse. Needs torch, transformers and safetensors; for GGUF also gguf.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import json
import logging
import math
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

GROUPED = dict(vocab_size=40, hidden_size=32, intermediate_size=24, moe_intermediate_size=8, num_hidden_layers=2,
               num_attention_heads=4, num_key_value_heads=2, num_experts_per_tok=2, max_position_embeddings=64,
               tie_word_embeddings=False, pad_token_id=None, bos_token_id=None, eos_token_id=None,
               rope_parameters=dict(rope_type="default", rope_theta=10000.0))
LATENT = GROUPED | dict(num_key_value_heads=4, n_routed_experts=8, n_shared_experts=2, first_k_dense_replace=1,
                        kv_lora_rank=12, q_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=6)
COUNTED = dict(n_routed_experts=4, n_shared_experts=1, first_k_dense_replace=1)
DELTA = dict(num_experts=4, head_dim=8, shared_expert_intermediate_size=16, linear_num_key_heads=2,
             linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=6,
             layer_types=["linear_attention", "full_attention"])
GEMMA4 = dict(enable_moe_block=True, num_experts=4, top_k_experts=2, head_dim=8, global_head_dim=12,
              num_global_key_value_heads=1, attention_k_eq_v=True, sliding_window=16, hidden_size_per_layer_input=0,
              layer_types=["sliding_attention", "full_attention"], tie_word_embeddings=True,
              final_logit_softcapping=8.0, rope_parameters=dict(
                  sliding_attention=GROUPED["rope_parameters"], full_attention=dict(
                      rope_type="proportional", rope_theta=1e6, partial_rotary_factor=0.25)))
TYPES = {
    "mixtral": [GROUPED | dict(num_local_experts=4, head_dim=8)],
    "qwen3_moe": [GROUPED | dict(num_experts=4, head_dim=8, mlp_only_layers=[0]),
                  GROUPED | dict(num_experts=4, head_dim=12, attention_bias=True, tie_word_embeddings=True)],
    "qwen2_moe": [GROUPED | dict(num_experts=4, shared_expert_intermediate_size=16, mlp_only_layers=[0])],
    "olmoe": [GROUPED | dict(num_experts=4), GROUPED | dict(num_experts=4, attention_bias=True)],
    "glm4_moe": [GROUPED | COUNTED | dict(head_dim=8, use_qk_norm=True),
                 GROUPED | COUNTED | dict(head_dim=8, attention_bias=True)],
    "glm4_moe_lite": [{k: v for k, v in LATENT.items() if k != "first_k_dense_replace"} | dict(
        n_group=1, topk_group=1, mlp_layer_types=["sparse", "dense"])],
    "deepseek_v2": [LATENT | dict(topk_method="greedy", n_group=1, topk_group=1),
                    LATENT | dict(q_lora_rank=None, topk_method="greedy", n_group=1, topk_group=1, mlp_bias=True)],
    "deepseek_v3": [LATENT | dict(n_group=4, topk_group=2),
                    LATENT | dict(n_group=4, topk_group=2, q_lora_rank=None, attention_bias=True)],
    "deepseek_v32": [LATENT | dict(
        n_group=4, topk_group=2, index_topk=16, index_n_heads=2, index_head_dim=8)],
    "glm_moe_dsa": [LATENT | dict(
        n_group=1, topk_group=1, index_topk=16, index_n_heads=2, index_head_dim=8,
        indexer_types=["full", "shared"])],
    "gpt_oss": [GROUPED | dict(num_local_experts=4, head_dim=8)],
    "phimoe": [GROUPED | dict(num_local_experts=4), GROUPED | dict(
        num_local_experts=4, attention_bias=True, lm_head_bias=True)],
    "granitemoe": [GROUPED | dict(num_local_experts=4)],
    "granitemoeshared": [GROUPED | dict(num_local_experts=4, shared_intermediate_size=16)],
    "minimax_m2": [GROUPED | dict(num_local_experts=4, head_dim=8)],
    "ernie4_5_moe": [{k: v for k, v in GROUPED.items() if k != "num_experts_per_tok"} | dict(
        moe_num_experts=4, moe_k=2, moe_num_shared_experts=1, use_bias=bias) for bias in (False, True)],
    "qwen3_next": [GROUPED | DELTA | dict(norm_topk_prob=True, mlp_only_layers=[0])],
    "qwen3_5_moe_text": [GROUPED | DELTA],
    "gemma4_text": [{k: v for k, v in GROUPED.items() if k != "num_experts_per_tok"} | GEMMA4,
                    GROUPED | GEMMA4 | dict(attention_k_eq_v=False, attention_bias=True, tie_word_embeddings=False)],
    "dots1": [GROUPED | COUNTED | dict(n_group=1, topk_group=1, moe_intermediate_size=8)],
}
# What llama.cpp and its converter want beside transformers' keys, or otherwise.
BIASED = dict(scoring_func="sigmoid", topk_method="noaux_tc")
CONVERTED = {
    "qwen3_moe": dict(mlp_only_layers=[]), "qwen2_moe": dict(mlp_only_layers=[]), "qwen3_next": dict(
        mlp_only_layers=[], linear_value_head_dim=8),
    "olmoe": dict(num_key_value_heads=4), "minimax_m2": dict(rotary_dim=8, scoring_func="sigmoid"),
    "deepseek_v3": BIASED, "dots1": dict(scoring_func="sigmoid", num_key_value_heads=4),
    "deepseek_v32": BIASED | dict(index_head_dim=128),
    "glm_moe_dsa": BIASED | dict(index_head_dim=128, indexer_types=["full", "full"], rope_parameters=dict(
        rope_type="default", rope_theta=10000.0, partial_rotary_factor=1.0)),
    "glm4_moe_lite": BIASED | dict(mlp_layer_types=["dense", "sparse"], first_k_dense_replace=1),
    "ernie4_5_moe": dict(intermediate_size=16),
    "phimoe": dict(architectures=["PhiMoEForCausalLM"], attention_bias=True, lm_head_bias=True, rope_parameters=dict(
        rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=32, short_factor=[1.0] * 4,
        long_factor=[2.0] * 4, short_mscale=1.0, long_mscale=1.0)),
    "qwen3_5_moe_text": dict(linear_value_head_dim=8, rope_parameters=dict(
        rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5, mrope_section=[1, 1, 0])),
}
# Seconds for a run, which takes less than one: some values make llama.cpp go on for ever.
PATIENCE = 30
# Written by transformers, of no class, or of generation only.
UNREAD = {"architectures", "transformers_version", "_name_or_path", "chunk_size_feed_forward", "is_encoder_decoder",
          "return_dict", "problem_type", "label2id", "id2label", "output_hidden_states", "per_layer_config",
          "use_cache", "initializer_range", "model_type"}
ROPES = [
    dict(rope_type="linear", factor=2.0), dict(type="linear", factor=2.0), dict(rope_type="linear"),
    dict(rope_type="linear", factor=None), dict(rope_type="linear", factor="2"), dict(rope_type="dynamic"),
    dict(rope_type="yarn"), dict(rope_type="yarn", factor=4.0), dict(rope_type="yarn", factor=None),
    dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=None),
    dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=None),
    dict(rope_type="llama3", factor=4.0), dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0),
    dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
    dict(rope_type="longrope"), dict(rope_type="longrope", short_factor=[1.0], long_factor=[1.0], factor=2.0),
    dict(rope_type="longrope", short_factor=[1.0] * 2, long_factor=[1.0] * 2, factor=2.0),
    dict(rope_type="longrope", short_factor=[1.0] * 4, long_factor=[1.0] * 4, factor=2.0),
    dict(rope_type="ntk"), dict(rope_type=None), dict(rope_type="default", rope_theta=None),
    dict(rope_type="default", rope_theta="10000"), dict(rope_type="default", rope_theta=10000), dict(rope_theta=0),
]


def quiet():
    stack = contextlib.ExitStack()
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
    return stack


def random_model(values, kind):
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(kind, **values)
    model = transformers.AutoModelForCausalLM.from_config(config, experts_implementation="eager").float().eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(torch.randn(value.shape) * 0.1 + (1 if "norm" in name else 0))
    return model


def transformers_says(folder):
    """fine, missing, unexpected or refused, and why."""
    try:
        with quiet():
            model, info = transformers.AutoModelForCausalLM.from_pretrained(
                folder, experts_implementation="eager", output_loading_info=True)
            with torch.no_grad():
                logits = model.eval()(input_ids=torch.arange(1, 8)[None]).logits
    except Exception as error:
        return "refused", f"{type(error).__name__}: " + " ".join(str(error).split())[-100:]
    if missing := sorted(info["missing_keys"]):
        return "missing", ", ".join(missing[:3])
    if unexpected := sorted(info["unexpected_keys"]):
        return "unexpected", ", ".join(unexpected[:3])
    return ("fine", "") if math.isfinite(logits.sum()) else ("refused", "NaN")


def regate_says(regate, path, target):
    """The verdict, and why; `refused` where regate cannot read the model at all."""
    result = subprocess.run([regate, "check", path, "--target", target, "--json"], capture_output=True, text=True)
    if result.returncode not in (0, 1):
        return "CRASH", str(result.returncode)
    if not result.stdout:
        return "refused", result.stderr.strip().replace(str(path), "")
    outcome = json.loads(result.stdout)["runtimes"][0]
    first = outcome["findings"][0] if outcome["findings"] else {}
    bad = outcome["verdict"] in ("does not load", "loads, but leaves something out", "loads, but starts something at random")
    if bad != (result.returncode == 1):
        return "WRONG EXIT CODE", str(result.returncode)
    return outcome["verdict"], f"{first.get('subject')}: {first.get('text')}"


AGREE = {
    "fine": {"loads", "loads, but differs"},
    "refused": {"does not load", "refused"},
    "missing": {"loads, but starts something at random", "does not load", "refused"},
    "unexpected": {"loads, but leaves something out"},
}


def judge(theirs, ours):
    if ours in AGREE[theirs]:
        return "agree"
    if ours == "not checked":
        return "not checked"
    if ours == "refused":
        return "regate cannot read it"
    if theirs != "fine" and ours in AGREE["fine"]:
        return "CHECK SAYS LOADS"
    return "DIFFERENT" if theirs != "unexpected" or ours in AGREE["fine"] else "agree"


# MARK: safetensors


def kinds_of(tensors):
    """One name of each kind: layers and experts apart."""
    seen = {}
    for name in sorted(tensors):
        parts = name.split(".")
        kind = ".".join("*" if p.isdigit() and i != 2 else p for i, p in enumerate(parts))
        seen.setdefault(kind, name)
    return seen.values()


def tensor_changes(tensors):
    yield "nothing", dict(tensors)
    for name in kinds_of(tensors):
        without = {k: v for k, v in tensors.items() if k != name}
        value = tensors[name]
        yield f"drop {name}", without
        yield f"rename {name}", without | {name + "_old": value}
        yield f"transpose {name}", without | {name: value.T.contiguous() if value.ndim == 2 else value[None]}
        yield f"longer {name}", without | {name: torch.cat([value, value[:1]])}
        yield f"shorter {name}", without | {name: value[:-1].contiguous()}
    kinds = collections.defaultdict(list)
    for name in tensors:
        kinds[".".join("*" if p.isdigit() else p for p in name.split("."))].append(name)
    for kind, names in kinds.items():
        if len(names) > 1:
            yield f"drop every {kind}", {k: v for k, v in tensors.items() if k not in names}
    for name, value in {
        "model.layers.0.self_attn.q_proj.bias": torch.zeros(32), "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "model.layers.1.mlp.gate.e_score_correction_bias": torch.zeros(4), "model.layers.7.mlp.up_proj.weight": torch.ones(4, 4),
        "model.layers.1.self_attn.q_norm.weight": torch.ones(8), "lm_head.bias": torch.ones(40), "extra": torch.ones(3),
    }.items():
        if name not in tensors:
            yield f"add {name}", tensors | {name: value}
    for prefix in ("_orig_mod.", "module.", "base_model.model.", "transformer."):
        yield f"prefix {prefix}", {prefix + k: v for k, v in tensors.items()}
    yield "no prefix model.", {k.removeprefix("model."): v for k, v in tensors.items()}


def key_changes(config, kind):
    fields = {f.name: f for f in dataclasses.fields(type(transformers.AutoConfig.for_model(kind)))}
    for key in sorted((set(config) | set(fields)) - UNREAD):
        value = config.get(key)
        if value is None and key in fields and fields[key].default is not dataclasses.MISSING:
            value = fields[key].default
        if key in config:
            yield f"{key} dropped", {k: v for k, v in config.items() if k != key}
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else 2
        for new in (None, int(number), float(number), True, "2", [0], ["full_attention"] * 2, {"a": 1}, 0, -1, 3):
            yield f"{key} = {json.dumps(new)}", config | {key: new}
    for new in (None, "mixtrall", 3):
        yield f"model_type = {json.dumps(new)}", config | dict(model_type=new)
    yield "model_type dropped", {k: v for k, v in config.items() if k != "model_type"}
    for new in ("gelu", "foo", "SiLU", "swish"):
        yield f"hidden_act = {new}", config | dict(hidden_act=new)
    for new in ("float32", "bfloat16", "float33", "int8", "auto"):
        yield f"dtype = {new}", {k: v for k, v in config.items() if k != "torch_dtype"} | dict(dtype=new)
        yield f"torch_dtype = {new}", {k: v for k, v in config.items() if k != "dtype"} | dict(torch_dtype=new)
    for new in (39, 40, 41, -41):
        yield f"pad_token_id = {new}", config | dict(pad_token_id=new)
    for rope in ROPES:
        yield f"rope {json.dumps(rope)}", {k: v for k, v in config.items() if k != "rope_scaling"} | dict(
            rope_parameters=dict(rope_theta=10000.0) | rope)
        old = {k: v for k, v in rope.items() if k != "rope_theta"}
        yield f"rope_scaling {json.dumps(old)}", {k: v for k, v in config.items() if k != "rope_parameters"} | dict(
            rope_theta=rope.get("rope_theta", 10000.0), rope_scaling=old)


def safetensors_rows(kind, values, regate, folder):
    folder.mkdir()
    with quiet():
        random_model(values, kind).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tensors = load_file(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())

    def row(what):
        theirs, why = transformers_says(folder)
        ours, ours_why = regate_says(regate, folder, "transformers")
        return kind, what, judge(theirs, ours), f"{theirs} {why}", f"{ours} ({ours_why})"

    for what, changed in tensor_changes(tensors):
        save_file({k: v.contiguous() for k, v in changed.items()}, folder / "model.safetensors", {"format": "pt"})
        yield row(what)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with quiet():
        random_model(values, kind).save_pretrained(folder / "fused", save_original_format=False)
    save_file(load_file(folder / "fused/model.safetensors"), folder / "model.safetensors", {"format": "pt"})
    yield row("names of memory")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    for what, changed in key_changes(config, kind):
        (folder / "config.json").write_text(json.dumps(changed))
        yield row(what)


def parameters():
    """Of every model, what save_pretrained writes: layers, then names and shapes; "@" is each expert."""
    for kind, variants in TYPES.items():
        for values in variants:
            with tempfile.TemporaryDirectory() as folder:
                with quiet():
                    random_model(values, kind).save_pretrained(folder)
                tensors = load_file(Path(folder) / "model.safetensors")
            layers = collections.defaultdict(set)
            for name, value in sorted(tensors.items()):
                name = re.sub(r"experts\.\d+\.", "experts.@.", name)
                layer, _, rest = name.removeprefix("model.layers.").partition(".")
                inside = name.startswith("model.layers.")
                shape = "x".join(map(str, value.shape))
                layers[f"{rest if inside else name}={shape}"].add(layer if inside else "-")
            places = collections.defaultdict(list)
            for entry, some in layers.items():
                places["".join(sorted(some))].append(entry)
            own = {k: v for k, v in values.items() if k not in GROUPED or GROUPED[k] != v}
            print(kind, json.dumps(own))
            for place, entries in sorted(places.items()):
                print(f"  {place}: " + " ".join(entries))


# MARK: GGUF


def llama_says(binary, path, text):
    for _ in range(5):
        try:
            result = subprocess.run(
                [binary, "-m", path, "-f", text, "-c", "64", "-b", "64", "--chunks", "1", "-t", "1"],
                capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return "refused", f"no end in {PATIENCE} s"
        log = result.stderr + result.stdout
        if result.returncode == 0:
            return "fine", ""
        lines = [line for line in log.splitlines() if " E " in line or "error" in line or "ASSERT" in line]
        # Without a vocabulary the file is loaded, and the text cannot be tokenized.
        if "tokenizing the input" in log:
            return "fine", ""
        # The program may end before its log has written anything.
        if lines:
            return "refused", lines[0][-110:]
    return "refused", f"exit code {result.returncode}"


def rewrite(source, target, keys=None, tensors=None):
    """A GGUF file with keys and tensors changed: {name: None} drops one, {name: (type, value)} sets it."""
    import gguf
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture" or name in (keys or {}):
            continue
        writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for name, entry in (keys or {}).items():
        if entry is not None:
            kind, value = entry[0], entry[1]
            if isinstance(value, list):
                writer.add_key_value(name, value, gguf.GGUFValueType.ARRAY, kind)
            else:
                writer.add_key_value(name, value, kind)
    stored = {t.name: (t.data, t.tensor_type) for t in reader.tensors}
    for name, entry in (tensors or {}).items():
        if entry is None:
            stored.pop(name)
        else:
            stored[name] = entry
    for name, (data, kind) in stored.items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_changes(source):
    import gguf
    import numpy
    U32, F32 = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32
    reader = gguf.GGUFReader(source)
    stored = {t.name: (t.data, t.tensor_type) for t in reader.tensors}
    arch = reader.fields["general.architecture"].contents()
    yield "nothing", {}, {}
    kinds = {}
    for name in stored:
        kinds.setdefault(".".join("*" if p.isdigit() and p != "0" else p for p in name.split(".")), name)
    for name in kinds.values():
        data, kind = stored[name]
        yield f"drop {name}", {}, {name: None}
        yield f"rename {name}", {}, {name: None, name + "_old": (data, kind)}
        yield f"longer {name}", {}, {name: (numpy.concatenate([data, data[:1]]), kind)}
        if data.ndim > 1:
            yield f"shorter {name}", {}, {name: (data[:-1].copy(), kind)}
    ones = (numpy.ones(8, numpy.float32), gguf.GGMLQuantizationType.F32)
    for name in ("extra.weight", "blk.0.attn_q.bias", "blk.0.attn_q_norm.weight", "blk.0.exp_probs_b.bias", "rope_freqs.weight",
                 "output.bias", "blk.0.ffn_gate_inp.bias", "blk.0.attn_q.scale", "blk.9.attn_norm.weight"):
        if name not in stored:
            yield f"add {name}", {}, {name: ones}
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name.startswith("general."):
            continue
        yield f"drop {name}", {name: None}, {}
        kind = field.types[0]
        if kind == U32 and name.startswith(arch):
            value = field.contents()
            yield f"{name} as i32", {name: (gguf.GGUFValueType.INT32, value)}, {}
            yield f"{name} as f32", {name: (F32, float(value))}, {}
            yield f"{name} + 1", {name: (U32, value + 1)}, {}
            yield f"{name} - 1", {name: (U32, max(value - 1, 0))}, {}
        if kind == F32 and name.startswith(arch):
            yield f"{name} as f64", {name: (gguf.GGUFValueType.FLOAT64, field.contents())}, {}
            yield f"{name} as u32", {name: (U32, 1)}, {}
    yield "unknown pre", {"tokenizer.ggml.pre": (gguf.GGUFValueType.STRING, "no-such")}, {}
    yield "unknown model", {"tokenizer.ggml.model": (gguf.GGUFValueType.STRING, "no-such")}, {}
    yield "rope type", {f"{arch}.rope.scaling.type": (gguf.GGUFValueType.STRING, "no-such")}, {}


def gguf_rows(name, source, regate, binary, folder):
    text = folder / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 60)
    path = folder / "changed.gguf"
    for what, keys, tensors in gguf_changes(source):
        try:
            rewrite(source, path, keys, tensors)
        except Exception as error:
            print(f"cannot write: {name} {what}: {error}", file=sys.stderr)
            continue
        theirs, why = llama_says(binary, path, text)
        ours, ours_why = regate_says(regate, path, "llama.cpp")
        yield name, what, judge(theirs, ours), f"{theirs} {why}", f"{ours} ({ours_why})"
        # Of a file that it refuses as it is, changes say nothing.
        if what == "nothing" and theirs == "refused":
            return


def converted(kind, values, llama_cpp, folder):
    """A GGUF file of a random model by llama.cpp's converter, with a vocabulary of 40 byte-like tokens."""
    import gguf
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
    from tiny_variants import write_gguf
    source = folder / "source"
    own = CONVERTED.get(kind, {})
    with quiet():
        random_model(values | own, kind).bfloat16().save_pretrained(source)
        settings = source / "config.json"
        settings.write_text(json.dumps(json.loads(settings.read_text()) | own))
        write_gguf(source, folder, "whole", llama_cpp)
    plain = next(folder.glob("*.gguf"))
    arch = gguf.GGUFReader(plain).fields["general.architecture"].contents()
    strings = gguf.GGUFValueType.STRING
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{n:02X}>" for n in range(256)]
    result = folder / f"{arch}-full.gguf"
    rewrite(plain, result, {
        "tokenizer.ggml.model": (strings, "llama"), "tokenizer.ggml.tokens": (strings, tokens),
        "tokenizer.ggml.scores": (gguf.GGUFValueType.FLOAT32, [0.0] * len(tokens)),
        "tokenizer.ggml.token_type": (gguf.GGUFValueType.INT32, [2, 3, 3] + [6] * 256)}, {})
    plain.unlink()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--regate", type=Path, default=Path(".build/release/regate"))
    parser.add_argument("--parameters", action="store_true")
    parser.add_argument("--type", action="append", choices=TYPES)
    parser.add_argument("--llama-bin", type=Path)
    parser.add_argument("--llama-cpp", type=Path, help="llama.cpp's source, for its converter")
    parser.add_argument("--gguf", type=Path, action="append", default=[])
    parser.add_argument("--all", action="store_true", help="print what agrees too")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if options.parameters:
        return parameters()
    if options.llama_cpp:
        # The converter wants the gguf package beside it, which must be there before another is imported.
        sys.path[:0] = [str(options.llama_cpp / "gguf-py"), str(options.llama_cpp)]
    regate = options.regate.resolve()
    counts = collections.defaultdict(collections.Counter)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)

        def rows():
            for kind in options.type or TYPES:
                for number, values in enumerate(TYPES[kind]):
                    if not options.llama_bin:
                        yield from safetensors_rows(kind, values, regate, scratch / f"{kind}{number}")
                    elif options.llama_cpp:
                        folder = scratch / f"gguf-{kind}{number}"
                        folder.mkdir()
                        try:
                            path = converted(kind, values | dict(vocab_size=259), options.llama_cpp, folder)
                        except BaseException as error:
                            print(f"not converted: {kind}: {type(error).__name__} {error}", file=sys.stderr)
                            continue
                        yield from gguf_rows(kind, path, regate, options.llama_bin / "llama-perplexity", folder)
            for path in options.gguf:
                yield from gguf_rows(f"{path.parent.name}/{path.name}", path, regate, options.llama_bin / "llama-perplexity", scratch)

        for name, what, verdict, theirs, ours in rows():
            counts[name][verdict] += 1
            if options.all or verdict != "agree":
                print(f"{verdict} | {name} | {what} | {theirs} | {ours}", flush=True)
    for name, some in counts.items():
        print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in sorted(some.items())))
    sys.exit(1 if any(k.isupper() for some in counts.values() for k in some) else 0)


if __name__ == "__main__":
    main()
