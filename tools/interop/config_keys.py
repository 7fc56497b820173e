#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every key of every runnable family's config.json, dropped, nulled and respelled: Regate against transformers.

Builds small models of random weights, changes one key at a time and compares the mean NLL of
`regate capture` with transformers' in float32, or the refusals. A second model has each key at its
class default, as far as that stays small, so that dropping the key must change nothing.

  python3 tools/interop/config_keys.py --regate .build/release/regate [--family NAME]... [--all]

Prints a table of what differs and the counts; --all prints every row. Exit code 1 where something
differs; of keys that transformers refuses for their type alone, which Regate runs without reading
them, there is the count. Needs torch, transformers and safetensors.
"""

import argparse
import collections
import contextlib
import copy
import dataclasses
import io
import json
import logging
import math
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
from tiny_variants import (  # noqa: E402
    DELTA, DOTS1, ERNIE, EXPERTS, GEMMA4, GPT_OSS, GRANITE, GROUPED, LATENT, MODELS, PHI, V3, random_model, save)

LIMIT = 1e-4
LENGTHS = (20, 7)
# What says nothing of the computation: written by transformers, or of training and generation only.
UNREAD = {
    "_name_or_path", "architectures", "attention_dropout", "chunk_size_feed_forward", "dtype", "id2label",
    "initializer_range", "is_encoder_decoder", "label2id", "model_type", "output_attentions", "output_hidden_states",
    "output_router_logits", "problem_type", "return_dict", "router_aux_loss_coef", "router_jitter_noise",
    "transformers_version", "use_cache", "num_mtp_layers", "num_nextn_predict_layers", "bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp"}
INDEXER = dict(index_topk=32, index_n_heads=2, index_head_dim=8)
# The part of a head that is rotated where no key says so.
ROTATED = {"Glm4Moe": 2, "Qwen3Next": 4, "Qwen3_5MoeText": 4}
FAMILIES = {
    "mixtral": ("Mixtral", GROUPED | EXPERTS | dict(intermediate_size=8, head_dim=8, sliding_window=6)),
    "qwen3_moe": ("Qwen3Moe", GROUPED | EXPERTS | dict(head_dim=8, attention_bias=True, norm_topk_prob=True)),
    "qwen2_moe": ("Qwen2Moe", GROUPED | dict(
        num_experts=4, shared_expert_intermediate_size=16, use_sliding_window=True, sliding_window=5,
        max_window_layers=1, norm_topk_prob=True)),
    "olmoe": ("Olmoe", GROUPED | dict(num_experts=4, intermediate_size=8, norm_topk_prob=True)),
    "glm4_moe": ("Glm4Moe", GROUPED | dict(
        n_routed_experts=8, n_shared_experts=1, first_k_dense_replace=1, head_dim=8, use_qk_norm=True,
        attention_bias=True, n_group=4, topk_group=2, routed_scaling_factor=1.5)),
    "deepseek_v2": ("DeepseekV2", LATENT | dict(
        topk_method="group_limited_greedy", n_group=4, topk_group=2, routed_scaling_factor=4.0)),
    "deepseek_v3": ("DeepseekV3", LATENT | V3),
    "glm4_moe_lite": ("Glm4MoeLite", MODELS["glm4-lite"][1]),
    "deepseek_v32": ("DeepseekV32", LATENT | INDEXER | dict(n_group=4, topk_group=2, routed_scaling_factor=2.5)),
    "glm_moe_dsa": ("GlmMoeDsa", LATENT | INDEXER | dict(n_group=1, topk_group=1, indexer_types=["full", "shared"])),
    "mistral4": ("Mistral4", MODELS["mistral4"][1]),
    "minimax_m2": ("MiniMaxM2", MODELS["minimax"][1]),
    "gpt_oss": ("GptOss", GPT_OSS),
    "granitemoe": ("GraniteMoe", {key: value for key, value in GRANITE.items() if key != "shared_intermediate_size"}),
    "granitemoeshared": ("GraniteMoeShared", GRANITE),
    "ernie4_5_moe": ("Ernie4_5_Moe", ERNIE),
    "dots1": ("Dots1", DOTS1 | dict(max_window_layers=1, sliding_window=5)),
    "phimoe": ("Phimoe", PHI),
    "qwen3_next": ("Qwen3Next", DELTA | dict(head_dim=16, num_experts=3, mlp_only_layers=[1], attention_bias=True)),
    "qwen3_5_moe_text": ("Qwen3_5MoeText", DELTA | dict(head_dim=16)),
    "gemma4_text": ("Gemma4Text", GEMMA4),
}
# What must change with a key that is set to its class default, for a model that is still whole.
COMPANIONS = {
    "num_attention_heads": lambda default, config: dict(
        hidden_size=2 * default, **({} if "kv_lora_rank" in config else dict(num_key_value_heads=default))),
    "num_key_value_heads": lambda default, config: {} if default is None else dict(
        num_attention_heads=default, hidden_size=2 * default),
    "first_k_dense_replace": lambda default, config: dict(num_hidden_layers=default + 1),
    "n_group": lambda default, config: {} if default is None else dict(n_routed_experts=2 * default),
    "topk_group": lambda default, config: {} if default is None else dict(n_group=2 * default, n_routed_experts=4 * default),
    "num_experts_per_tok": lambda default, config: {} if default is None else {
        key: 2 * default for key in ("num_experts", "num_local_experts", "n_routed_experts") if key in config},
}
ALIASES = {
    "num_experts": ["num_local_experts", "n_routed_experts", "moe_num_experts"],
    "num_local_experts": ["num_experts", "n_routed_experts", "moe_num_experts"],
    "n_routed_experts": ["num_experts", "num_local_experts", "moe_num_experts"],
    "num_experts_per_tok": ["num_experts_per_token", "top_k_experts", "moe_k", "moe_topk"],
}
PLAIN = dict(rope_type="default", rope_theta=10000.0)
ROPES = {
    "default": dict(rope_type="default", rope_theta=500.0),
    "linear": dict(rope_type="linear", rope_theta=500.0, factor=3.0),
    "dynamic": dict(rope_type="dynamic", rope_theta=500.0, factor=3.0),
    "yarn": dict(rope_type="yarn", rope_theta=500.0, factor=4.0, original_max_position_embeddings=16, beta_fast=8.0,
                 beta_slow=2.0, mscale=0.707, mscale_all_dim=0.5, attention_factor=1.2, truncate=False),
    "llama3": dict(rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=16),
    "longrope": dict(rope_type="longrope", rope_theta=500.0, factor=4.0, original_max_position_embeddings=32,
                     attention_factor=1.2),
    "unknown": dict(rope_type="proportional", rope_theta=500.0, factor=3.0),
}


class Bench:
    """One model on disk, and both programs' figures for it with another configuration."""

    def __init__(self, folder, kind, regate):
        self.folder, self.regate = folder, regate
        self.model = getattr(transformers, kind.removesuffix("Text") + "ForCausalLM")
        self.tensors = load_file(folder / "model.safetensors")
        self.config = json.loads((folder / "config.json").read_text())
        vocabulary = self.config["vocab_size"]
        generator = torch.Generator().manual_seed(7)
        self.ids = [torch.randint(0, min(vocabulary, 40), (n,), generator=generator) for n in LENGTHS]
        padded = torch.full((len(LENGTHS), max(LENGTHS)), -1, dtype=torch.int32)
        for row, ids in zip(padded, self.ids):
            row[:len(ids)] = ids
        save_file({"token_ids": padded}, folder / "ids.safetensors")

    def write(self, config):
        (self.folder / "config.json").write_text(json.dumps(config))

    def transformers(self):
        try:
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                model, info = self.model.from_pretrained(
                    self.folder, dtype=torch.float32, experts_implementation="eager", output_loading_info=True)
                if missing := sorted(info["missing_keys"]):
                    return None, f"starts {missing[0]} at random"
                total = 0.0
                for row in self.ids:
                    with torch.no_grad():
                        logits = model.eval()(input_ids=row[None]).logits[0]
                    total += torch.nn.functional.cross_entropy(logits[:-1].double(), row[1:], reduction="sum").item()
                if not math.isfinite(total):
                    return None, "gives NaN"
                return total / sum(n - 1 for n in LENGTHS), ""
        except Exception as error:
            return None, f"{type(error).__name__}: " + " ".join(str(error).split())[-90:]

    def regate_run(self):
        result = subprocess.run(
            [self.regate, "capture", self.folder,
             "--precision", "f32", "--calibration", self.folder / "ids.safetensors", "-o",
             self.folder.with_suffix(".capture"), "--overwrite", "--json", "--quiet", "--threads", "1"],
            capture_output=True, text=True)
        if result.returncode not in (0, 1):
            return None, f"CRASH {result.returncode}"
        if result.returncode == 1:
            return None, result.stderr.strip().replace(str(self.folder) + "/", "")
        return json.loads(result.stdout)["nll"], ""

    def compare(self, config):
        self.write(config)
        theirs, why = self.transformers()
        ours, ours_why = self.regate_run()
        if theirs is None and ours is None:
            verdict = "both refuse"
        elif theirs is None and why.startswith("StrictDataclassField"):
            # Of a key that Regate does not read, or takes the number of; `regate check` says it.
            verdict = "only its type"
        elif theirs is None:
            verdict = "ONLY REGATE RUNS"
        elif ours is None:
            verdict = "regate refuses"
        else:
            near = abs(ours - theirs) <= LIMIT
            verdict = "same" if near else "DIFFERENT"
        return verdict, f"{theirs:.6f}" if theirs is not None else why, f"{ours:.6f}" if ours is not None else ours_why


def build(kind, values, regate, folder):
    folder.mkdir(parents=True)
    model = random_model(kind, values, seed=1)
    with contextlib.redirect_stderr(io.StringIO()):
        save(model, folder, fused=False)
    return Bench(folder, kind, regate)


def other(key, value):
    """Another value of the key's own kind."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [0, max(value - 1, 1) if value > 1 else 2]
    if isinstance(value, float):
        return [0.0, value * 2]
    if key == "hidden_act":
        return ["gelu", "swish", "relu"]
    return []


def respelled(value):
    """The same value in another JSON type."""
    if isinstance(value, bool):
        return [int(value), str(value).lower()]
    if isinstance(value, int):
        return [float(value), str(value)]
    if isinstance(value, float):
        return [str(value)] + ([int(value)] if value == int(value) else [])
    return []


def changes(config, key):
    """(what, changed configuration) of one key."""
    if key in config:
        yield "dropped", {k: v for k, v in config.items() if k != key}
    yield "null", config | {key: None}
    value = config.get(key)
    for new in other(key, value):
        yield f"= {json.dumps(new)}", config | {key: new}
    for new in respelled(value):
        yield f"= {json.dumps(new)}", config | {key: new}
    for alias in ALIASES.get(key, []) if key in config else []:
        without = {k: v for k, v in config.items() if k != key}
        yield f"as {alias}", without | {alias: value}
        yield f"beside {alias} = {value + 1}", config | {alias: value + 1}
        yield f"= {value + 1} beside {alias} = {value}", without | {key: value + 1, alias: value}
        yield f"beside {alias} = null", config | {alias: None}


def key_rows(bench, kind):
    config = dict(bench.config)
    fields = {field.name: field for field in dataclasses.fields(getattr(transformers, kind + "Config"))}
    yield "-", "unchanged", config
    unread = UNREAD | {"rope_parameters", "per_layer_config"} | ({"head_dim"} if kind == "DeepseekV2" else set())
    for key in sorted((set(config) | set(fields)) - unread):
        base = dict(config)
        if key not in base and key in fields and isinstance(fields[key].default, (int, float, str)):
            base[key] = fields[key].default
        for what, changed in changes(base, key):
            yield key, what, changed


def default_rows(kind, values, regate, root):
    """Models with one key at its class default, from which the key is dropped."""
    fields = {field.name: field for field in dataclasses.fields(getattr(transformers, kind + "Config"))}
    for key, field in sorted(fields.items()):
        default = field.default
        if key in UNREAD or isinstance(default, (str, dict)) or default is dataclasses.MISSING or key == "per_layer_config":
            continue
        changed = values | COMPANIONS.get(key, lambda *_: {})(default, values) | {key: default}
        try:
            bench = build(kind, changed, regate, root / ("default-" + key))
        except Exception:
            continue
        for names in [[key]] + [[key, alias] for alias in ALIASES.get(key, []) if alias in bench.config]:
            yield bench, key, f"default ({default}) dropped", {
                k: v for k, v in bench.config.items() if k not in names}
        shutil.rmtree(bench.folder)


def rope_rows(bench, kind):
    base = {k: v for k, v in bench.config.items() if k not in ("rope_parameters", "rope_scaling", "rope_theta")}
    size = base.get("qk_rope_head_dim") or base.get("head_dim") or base["hidden_size"] // base["num_attention_heads"]
    size = base.get("rotary_dim") or size // ROTATED.get(kind, 1)
    factors = dict(short_factor=[1.0 + 0.1 * i for i in range(size // 2)],
                   long_factor=[2.0 + i for i in range(size // 2)])
    yield "rope", "none", base
    yield "rope", "rope_parameters null", base | dict(rope_parameters=None)
    yield "rope", "rope_parameters {}", base | dict(rope_parameters={})
    for theta in (500.0, 500, None, "500", 1.0, 0):
        yield "rope", f"rope_theta {theta!r}", base | dict(rope_theta=theta)
        yield "rope", f"rope_theta {theta!r}, rope_scaling null", base | dict(rope_theta=theta, rope_scaling=None)
    yield "rope", "rope_theta 500 beside rope_parameters", base | dict(rope_theta=500.0, rope_parameters=PLAIN)
    yield "rope", "rope_theta 500 beside rope_parameters without it", base | dict(
        rope_theta=500.0, rope_parameters=dict(rope_type="default"))
    for part in (0.5, 1.0, None, 0.0):
        yield "rope", f"partial_rotary_factor {part}", base | dict(rope_theta=500.0, partial_rotary_factor=part)
        yield "rope", f"partial_rotary_factor {part} inside", base | dict(
            rope_parameters=PLAIN | dict(partial_rotary_factor=part))
        yield "rope", f"partial_rotary_factor {part} with linear", base | dict(
            rope_theta=500.0, partial_rotary_factor=part, rope_scaling=dict(type="linear", factor=3.0))
    for name, rope in ROPES.items():
        rope = rope | (factors if name == "longrope" else {})
        old = {k: v for k, v in rope.items() if k not in ("rope_type", "rope_theta")}
        yield name, "rope_parameters", base | dict(rope_parameters=rope)
        yield name, "rope_theta, rope_scaling with type", base | dict(
            rope_theta=500.0, rope_scaling=old | dict(type=rope["rope_type"]))
        yield name, "rope_scaling without rope_theta", base | dict(rope_scaling=old | dict(type=rope["rope_type"]))
        yield name, "rope_scaling beside default rope_parameters", base | dict(
            rope_parameters=PLAIN, rope_scaling=old | dict(rope_type=rope["rope_type"]))
        yield name, "rope_scaling beside rope_parameters and rope_theta", base | dict(
            rope_parameters=PLAIN, rope_theta=300.0, rope_scaling=old | dict(rope_type=rope["rope_type"]))
        yield name, "rope_parameters beside rope_scaling {}", base | dict(rope_parameters=rope, rope_scaling={})
        yield name, "rope_parameters beside rope_scaling null", base | dict(rope_parameters=rope, rope_scaling=None)
        yield name, "type against rope_type", base | dict(rope_parameters=rope | dict(type="linear"))
        yield name, "original_max_position_embeddings 24 at the top", base | dict(
            rope_parameters=rope, original_max_position_embeddings=24)
        yield name, "context null", base | dict(rope_parameters=rope, max_position_embeddings=None)
        yield name, "context dropped", {k: v for k, v in base.items() if k != "max_position_embeddings"} | dict(
            rope_parameters=rope)
        for key in rope:
            for what, changed in changes(rope, key):
                yield name, f"{key} {what}", base | dict(rope_parameters=changed)
        for key in ("attention_factor", "mscale", "mscale_all_dim", "beta_fast", "beta_slow"):
            if name in ("yarn", "longrope") and key in rope:
                without = {k: v for k, v in rope.items() if k not in ("attention_factor", "factor", key)}
                yield name, f"without attention_factor, factor and {key}", base | dict(rope_parameters=without)
                yield name, f"without attention_factor and {key}", base | dict(
                    rope_parameters=without | dict(factor=4.0))
                yield name, f"without attention_factor, {key} null", base | dict(
                    rope_parameters=without | {"factor": 4.0, key: None})
        if name == "longrope":
            for n in (16, 32, 64, 128):
                yield name, f"without factors, context {n}", base | dict(
                    max_position_embeddings=n,
                    rope_parameters={k: v for k, v in rope.items() if k not in ("attention_factor", "factor")})
        if name in ("dynamic", "longrope"):
            beyond = dict(max_position_embeddings=16) if name == "dynamic" else {}
            yield name, "beyond the context", base | beyond | dict(
                rope_parameters=rope | (dict(original_max_position_embeddings=16) if name == "longrope" else {}))


def head_rows(bench):
    """tie_word_embeddings with every set of stored matrices."""
    base, tensors = bench.config, bench.tensors
    embedding, head = "model.embed_tokens.weight", "lm_head.weight"
    equal = tensors | {head: tensors[embedding].clone()}
    stored = {
        "two different": tensors, "two equal": equal,
        "the embedding only": {k: v for k, v in tensors.items() if k != head},
        "the head only": {k: v for k, v in tensors.items() if k != embedding},
    }
    for name, some in stored.items():
        save_file(some, bench.folder / "model.safetensors", {"format": "pt"})
        for tied in (True, False, None, "absent"):
            config = {k: v for k, v in base.items() if k != "tie_word_embeddings"}
            if tied != "absent":
                config["tie_word_embeddings"] = tied
            yield "tie_word_embeddings", f"{json.dumps(tied)}, {name}", config
    save_file(tensors, bench.folder / "model.safetensors", {"format": "pt"})


def rows(family, regate, root):
    kind, values = FAMILIES[family]
    # Gemma-4 has a rotation for each kind of layer, and Mistral4's class stops at one that is not scaled.
    rotates = kind not in ("Gemma4Text", "Mistral4")
    if rotates:
        values = values | dict(rope_parameters=dict(PLAIN))
    bench = build(kind, values, regate, root / "base")
    for source in (key_rows(bench, kind), rope_rows(bench, kind) if rotates else (), head_rows(bench)):
        for key, what, config in source:
            yield key, what, *bench.compare(copy.deepcopy(config))
    for bench, key, what, config in default_rows(kind, values, regate, root):
        yield key, what, *bench.compare(config)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--regate", type=Path, required=True)
    parser.add_argument("--family", action="append", choices=FAMILIES)
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    logging.disable(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    failed = False
    for family in options.family or FAMILIES:
        counts = collections.Counter()
        print(f"\n## {family}\n\n| key | change | | transformers | Regate |\n|---|---|---|---|---|", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            for key, what, verdict, theirs, ours in rows(family, options.regate.resolve(), Path(scratch)):
                counts[verdict] += 1
                failed |= verdict.isupper()
                if options.all or verdict.isupper() or verdict == "regate refuses":
                    print(f"| {key} | {what} | {verdict} | {theirs} | {ours} |".replace("\n", " "), flush=True)
        print("\n" + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())), flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
